#!/bin/bash

# Parameters
#SBATCH --comment=hpcnas-final/INTENT
#SBATCH --cpus-per-task=8
#SBATCH --gres=gpu:h100:8
#SBATCH --job-name=hpcnas-final-best
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/%j_0_log.out
#SBATCH --partition=a100
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=1-0

# setup
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output FOLDER/%j_%t_log.out --export=ALL --kill-on-bad-exit=1 --cpus-per-task=8 PYTHON -u -m submitit.core._submit FOLDER
