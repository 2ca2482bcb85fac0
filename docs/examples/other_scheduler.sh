#!/bin/bash
# A search under another scheduler than Slurm: one head here, and workers that you start by whatever starts processes there.
#
#   bash other_scheduler.sh                                     the head and two workers, all on this machine
#   START="qsub -b y -cwd -l gpu=1" WORKERS=50 bash other_scheduler.sh
#
# From the environment:
#   HPCNAS_RUN    run folder on a disk that all machines share (default runs/default)
#   HPCNAS_ARGS   options of `hpcnas head` (default --preset quick)
#   WORKERS       workers to start (default 2)
#   START         what starts a command elsewhere and returns; empty starts it here in the background
#
# The head keeps one worker on its own machine, because it must keep at least one. So run this script on a machine with a GPU.
# Workers may come and go at any time. One that is killed loses its lease after five minutes, and its genotype goes to another.
set -eu
run=$(realpath -m "${HPCNAS_RUN:-runs/default}")

# shellcheck disable=SC2086  # HPCNAS_ARGS and START are lists of words
hpcnas head --run "$run" --cluster local --workers 1 ${HPCNAS_ARGS:---preset quick} &
head=$!
trap 'kill "$head" 2>/dev/null' TERM INT

# A worker needs the run folder; the head writes head.json once it listens.
until [ -s "$run/head.json" ]; do
  kill -0 "$head" 2>/dev/null || { wait "$head"; exit; }
  sleep 0.2
done

for _ in $(seq "${WORKERS:-2}"); do
  if [ -n "${START:-}" ]; then
    # shellcheck disable=SC2086
    $START hpcnas worker --run "$run"
  else
    hpcnas worker --run "$run" &
  fi
done

# The head ends when all genotypes are evaluated; the workers end by themselves then.
wait "$head"
