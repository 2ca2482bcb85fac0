"""Batch scripts for Slurm; `hpcnas jobs` copies them out."""
