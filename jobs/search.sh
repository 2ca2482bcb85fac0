#!/bin/bash
# A search whose head is itself a small job without a GPU: nothing runs on the login node, and nobody needs to stay logged in.
# The head submits the workers, as job arrays of their own, to the partition that jobs/env.sh names.
#
#   sbatch jobs/search.sh                                              the paper's search: 7000 genotypes, 200 workers
#   HPCNAS_ARGS="--workers 50 --space flat" sbatch jobs/search.sh      any options of `hpcnas head`
#   sbatch --partition=cpu --time=12:00:00 jobs/search.sh              any options of sbatch, for the head alone
#   hpcnas status --run runs/default                                   how far it is, from anywhere
#   hpcnas stop --run runs/default                                     ends it; --cancel ends the workers too
#
# From the environment, which sbatch passes on:
#   HPCNAS_RUN       run folder (default runs/default); one that is there goes on where it stands
#   HPCNAS_DATASET   cifar10 (default), cifar100, fashion-mnist, digits or folder:PATH
#   HPCNAS_DATA      folder of the data set (default ~/.cache/hpcnas); compute nodes often have no internet, so fetch it before
#   HPCNAS_ARGS      further options of `hpcnas head`, such as --workers 50; they come last and win
# Two minutes before its time limit the head leaves and the job requeues itself; the workers go on meanwhile. Submit it from
# the folder that holds jobs/, whose env.sh it reads (or set HPCNAS_JOBS).
#
# The name in squeue.
#SBATCH --job-name=hpcnas-search
# One process with threads: it answers 200 workers on less than one core.
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
# How long one stretch lasts. A search of days is several stretches; a shorter one starts sooner.
#SBATCH --time=24:00:00
# Slurm may start it again after a failure of its node.
#SBATCH --requeue
# USR2 to this script ("B:"), not to job steps, two minutes before the limit.
#SBATCH --signal=B:USR2@120
# One log over all stretches.
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -u
jobs=${HPCNAS_JOBS:-${SLURM_SUBMIT_DIR:-$PWD}/jobs} # this script itself is a copy in Slurm's spool folder
arguments=(--run "${HPCNAS_RUN:-runs/default}" --cluster slurm)
if [ -f "$jobs/env.sh" ]; then
  # shellcheck source=/dev/null  # the site's own file
  source "$jobs/env.sh"
  arguments+=(--setup "source '$jobs/env.sh'")
fi
command -v hpcnas >/dev/null || { echo "there is no hpcnas on the PATH; activate its environment in jobs/env.sh"; exit 2; }
option() { [ -z "$2" ] || arguments+=("$1" "$2"); }
option --partition "${HPCNAS_PARTITION:-}"
option --qos "${HPCNAS_QOS:-}"
option --time "${HPCNAS_TIME:-}"
option --cpus-per-worker "${HPCNAS_CPUS:-}"
option --mem "${HPCNAS_MEM:-}"
option --dataset "${HPCNAS_DATASET:-}"
option --data "${HPCNAS_DATA:-}"

# The head leaves at either signal, with everything on the disk; only the announced time limit brings it back.
signal="" head=""
send() { [ -z "$head" ] || kill -"$signal" "$head" 2>/dev/null; }
trap 'signal=USR2; send' USR2
trap 'signal=TERM; send' TERM INT
# shellcheck disable=SC2086  # HPCNAS_ARGS is a list of words
hpcnas head "${arguments[@]}" ${HPCNAS_ARGS:-} &
started=$!
for _ in {1..20}; do # at first it is a copy of this bash, which may drop a signal; a wrapper in bash remains one
  [ "/proc/$started/exe" -ef "/proc/$$/exe" ] || break
  sleep 0.1
done
head=$started
[ -z "$signal" ] || send
status=0
wait "$head" || status=$?
while kill -0 "$head" 2>/dev/null; do # a trap ended the wait before the head did
  wait "$head"
  status=$?
done
if [ "$signal" = USR2 ] && [ "$status" -eq 140 ]; then # 128 + 12, SIGUSR2: it left before the search was over
  # ARRAY_TASK in an array, whose last task has the array's own id. Asked, as SLURM_ARRAY_* may be those of an outer job.
  task=$(scontrol --oneliner show job "$SLURM_JOB_ID" |
    sed -nE "s/^JobId=$SLURM_JOB_ID ArrayJobId=([0-9]+) ArrayTaskId=([0-9]+) .*/\1_\2/p")
  this_job=${task:-$SLURM_JOB_ID}
  echo "the time limit is near: requeueing job $this_job, the search goes on where it stands"
  scontrol requeue "$this_job" && sleep 60 # Slurm ends this script
fi
exit "$status"
