#!/bin/bash

# Parameters
#SBATCH --account=lab
#SBATCH --array=0-199%200
#SBATCH --comment=hpcnas/INTENT
#SBATCH --constraint=a100
#SBATCH --cpus-per-task=4
#SBATCH --exclude='n[1,3],bad2,bad7'
#SBATCH --gpus-per-node=1
#SBATCH --job-name=hpcnas
#SBATCH --mem=16G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/slurm/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@90
#SBATCH --time=8:00:00

# setup
module load cuda
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-4}"
export HPCNAS_TIME_LIMIT_S=28800

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output FOLDER/slurm/%A_%a_%t_log.out --export=ALL --cpus-per-task=4 PYTHON -u -m submitit.core._submit FOLDER/slurm
