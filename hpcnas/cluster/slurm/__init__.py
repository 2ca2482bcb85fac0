"""Slurm: its commands and answers, batch scripts, job arrays of workers, jobs of full-size trainings."""
