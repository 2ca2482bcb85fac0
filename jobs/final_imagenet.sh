#!/bin/bash
# Trains a genotype at full size on ImageNet: one node of eight GPUs, or more nodes.
#
#   HPCNAS_DATA=/data/imagenet sbatch jobs/final_imagenet.sh               the run's best genotype, as in the paper
#   sbatch --nodes=4 jobs/final_imagenet.sh                                32 GPUs, the same batch of 1024
#   sbatch --gpus-per-node=4 --ntasks-per-node=4 jobs/final_imagenet.sh    nodes of four GPUs
#
# From the environment, which sbatch passes on:
#   HPCNAS_DATA      folder that holds train/ and val/, each with a folder of images per class
#   HPCNAS_RUN       run folder (default runs/default): the result goes to its final/ and into its population
#   HPCNAS_GENOTYPE  an id of the run, best (default), published, or a genotype file
#   HPCNAS_ARGS      further options of `hpcnas final`, such as --batch 512 or --tensorboard
#   HPCNAS_RESTARTS  how often the job is requeued after a rank was killed (default 3)
# HPCNAS_DATASET is of no use here: the data set is ImageNet's layout. Two minutes before its time limit the job saves a
# checkpoint and requeues itself; it goes on at the exact step. Submit it from the folder that holds
# jobs/, whose env.sh it reads (or set HPCNAS_JOBS).
#SBATCH --job-name=hpcnas-final-imagenet
#
# One task (rank) for each GPU.
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
# How long one stretch lasts; a shorter one starts sooner.
#SBATCH --time=24:00:00
# Slurm may start it again after a failure of its node.
#SBATCH --requeue
# USR2 to every rank two minutes before the limit: time for the checkpoint.
#SBATCH --signal=USR2@120
# One log over all stretches.
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -u
jobs=${HPCNAS_JOBS:-${SLURM_SUBMIT_DIR:-$PWD}/jobs} # this script itself is a copy in Slurm's spool folder
# shellcheck source=/dev/null  # the site's own file
[ ! -f "$jobs/env.sh" ] || source "$jobs/env.sh"
command -v hpcnas >/dev/null || { echo "there is no hpcnas on the PATH; activate its environment in jobs/env.sh"; exit 2; }
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}

arguments=("${HPCNAS_GENOTYPE:-best}" --run "${HPCNAS_RUN:-runs/default}" --model imagenet)
[ -n "${HPCNAS_DATA:-}" ] && arguments+=(--data "$HPCNAS_DATA")
[ -n "${SLURM_ARRAY_TASK_ID:-}" ] && arguments+=(--run-index "$SLURM_ARRAY_TASK_ID")

# One dead rank ends the step. srun takes no --cpus-per-task from its job since Slurm 22.05.
status=0
# shellcheck disable=SC2086  # HPCNAS_ARGS is a list of words
srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" hpcnas final "${arguments[@]}" ${HPCNAS_ARGS:-} || status=$?

# Killed (137: SIGKILL or out of memory; 134, 135, 139: crashed), not stopped (143) and not wrong (1, 2): once more, from the
# checkpoint. A training that stopped for its time limit (140) has requeued itself.
case $status in
  134|135|137|139)
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "${HPCNAS_RESTARTS:-3}" ]; then
      echo "a rank was killed (status $status): requeueing job $SLURM_JOB_ID, it goes on from its last checkpoint"
      scontrol requeue "$SLURM_JOB_ID"
    else
      echo "a rank was killed (status $status) after ${SLURM_RESTART_COUNT:-0} restarts: giving up; submit again to go on"
    fi ;;
esac
exit "$status"
