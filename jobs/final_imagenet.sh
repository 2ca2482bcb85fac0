#!/bin/bash
# Trains a genotype at full size on ImageNet: one node of eight GPUs, or more nodes.
#
#   HPCNAS_DATA=/data/imagenet sbatch jobs/final_imagenet.sh               the run's best genotype, as in the paper
#   sbatch --nodes=4 jobs/final_imagenet.sh                                32 GPUs, the same batch of 1024
#   sbatch --gpus-per-node=4 --ntasks-per-node=4 jobs/final_imagenet.sh    nodes of four GPUs
#   bash jobs/final_imagenet.sh --nodes=4       submits itself, with HPCNAS_GPUS_PER_NODE of jobs/env.sh and any option of sbatch
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
# Not a job yet: it submits itself. No variable of sbatch's says how many tasks a node has.
if [ -z "${SLURM_JOB_ID:-}" ]; then
  jobs=${HPCNAS_JOBS:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
  # shellcheck source=/dev/null  # the site's own file
  [ ! -f "$jobs/env.sh" ] || source "$jobs/env.sh"
  gpus=${HPCNAS_GPUS_PER_NODE:-8}
  export HPCNAS_JOBS=$jobs
  sbatch --export=ALL --gpus-per-node="$gpus" --ntasks-per-node="$gpus" "$@" "${BASH_SOURCE[0]}" && exit
  echo "final_imagenet.sh: Slurm refused it with $gpus GPUs a node; if its nodes have fewer (see \`hpcnas doctor\`), set" \
    "HPCNAS_GPUS_PER_NODE in $jobs/env.sh" >&2
  exit 4
fi
jobs=${HPCNAS_JOBS:-${SLURM_SUBMIT_DIR:-$PWD}/jobs} # this script itself is a copy in Slurm's spool folder
# shellcheck source=/dev/null  # the site's own file
[ ! -f "$jobs/env.sh" ] || source "$jobs/env.sh"
command -v hpcnas >/dev/null || { echo "there is no hpcnas on the PATH; activate its environment in jobs/env.sh"; exit 2; }
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}

# This job as Slurm names it: ID, or ARRAY_TASK, as the last task of an array has the array's own id. Slurm is asked: a job that
# was submitted from within an array inherits SLURM_ARRAY_*, and from within a requeued one SLURM_RESTART_COUNT.
record=$(scontrol --oneliner show job "$SLURM_JOB_ID" | grep "^JobId=$SLURM_JOB_ID ")
this_job=$SLURM_JOB_ID
if [[ $record =~ ^JobId=[0-9]+\ ArrayJobId=([0-9]+)\ ArrayTaskId=([0-9]+)\  ]]; then
  this_job=${BASH_REMATCH[1]}_${BASH_REMATCH[2]}
elif [ -n "$record" ]; then
  unset ${!SLURM_ARRAY_@}
elif [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then # Slurm gave no answer
  this_job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi
[[ $record =~ \ Restarts=([0-9]+)\  ]] && export SLURM_RESTART_COUNT=${BASH_REMATCH[1]}

arguments=("${HPCNAS_GENOTYPE:-best}" --run "${HPCNAS_RUN:-runs/default}" --model imagenet)
[ -n "${HPCNAS_DATA:-}" ] && arguments+=(--data "$HPCNAS_DATA")
[ -n "${SLURM_ARRAY_TASK_ID:-}" ] && arguments+=(--run-index "$SLURM_ARRAY_TASK_ID")

# Where SBATCH_EXPORT=NONE is the rule, srun would start the ranks without this environment, too. And what a site or an outer
# job set for srun would contradict the options of this job.
[[ ${SLURM_EXPORT_ENV:-ALL} == ALL* ]] || echo "sbatch passed no HPCNAS_* on: set them in $jobs/env.sh, or give sbatch --export=ALL"
unset ${!SRUN_@} ${!SLURM_MEM_PER_@} ${!SLURM_CPU_BIND@} ${!SLURM_GPU_@} ${!SLURM_TRES_PER_@} SLURM_NTASKS_PER_{CORE,GPU,SOCKET,TRES} \
  SLURM_GPUS SLURM_GPUS_PER_{TASK,SOCKET} SLURM_DISTRIBUTION SLURM_HINT SLURM_THREADS_PER_CORE SLURM_EXACT SLURM_OVERLAP

# One dead rank ends the step. srun takes no --cpus-per-task from its job since Slurm 22.05.
status=0
# shellcheck disable=SC2086  # HPCNAS_ARGS is a list of words
srun --export=ALL --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" hpcnas final "${arguments[@]}" ${HPCNAS_ARGS:-} || status=$?

# Killed (137: SIGKILL or out of memory; 134, 135, 139: crashed), not stopped (143) and not wrong (1, 2): once more, from the
# checkpoint. A training that stopped for its time limit (140) has requeued itself.
case $status in
  134|135|137|139)
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "${HPCNAS_RESTARTS:-3}" ]; then
      echo "a rank was killed (status $status): requeueing job $this_job, it goes on from its last checkpoint"
      scontrol requeue "$this_job"
    else
      echo "a rank was killed (status $status) after ${SLURM_RESTART_COUNT:-0} restarts: giving up; submit again to go on"
    fi ;;
esac
exit "$status"
