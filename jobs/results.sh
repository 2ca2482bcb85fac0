#!/bin/bash
# The paper's comparison on one GPU, without Slurm: evolution and random search at the paper's full recipe on Fashion-MNIST,
# then the genotypes that Table 1 compares at full size, then tables and figures.
#
#   bash jobs/results.sh                               200 genotypes a search; goes on until everything is there
#   bash jobs/results.sh --minutes 50                  one stretch of 50 minutes; the same command goes on, here or elsewhere
#   bash jobs/results.sh --searches evolution,random,flat --genotypes 1000
#
# A stretch ends when nothing is left to do or its minutes are over: what is being trained is finished, a full-size training
# saves a checkpoint, the report of what is there is written. To go on elsewhere copy the folder (a few MiB and the checkpoints).
#
#   --folder DIR       where runs, tables and figures go (default runs/results)
#   --minutes M        begin nothing new after M minutes; one fitness may still be finished (default: no limit)
#   --genotypes N      genotypes that each search evaluates (default 200)
#   --population N     random ones that an evolution starts from (default 50)
#   --searches LIST    of evolution, random and flat, which is evolution in the flat space (default evolution,random)
#   --workers N        workers on this machine; more than one share the GPU (default 1)
#   --runs N           full-size trainings of each genotype, 0 for none (default 3)
#   --full-steps N     steps of a full-size training (default 80000, the paper's)
#   --download         fetch the data set first if it is not there
#
# HPCNAS_DATASET (default fashion-mnist), HPCNAS_DATA, and HPCNAS_SEARCH_ARGS and HPCNAS_FINAL_ARGS: further options of
# `hpcnas head` and of `hpcnas final`; they come last and win.
set -euo pipefail

jobs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=runs/results minutes="" genotypes=200 population=50 searches=evolution,random workers=1 runs=3 full_steps=80000 download=""

fail() { echo "results.sh: $*" >&2; exit 2; }
# whole OPTION VALUE LEAST: VALUE, if it is a whole number of at least LEAST
whole() { [[ $2 =~ ^[0-9]+$ ]] && [ "$2" -ge "$3" ] || fail "$1 $2 must be a whole number of at least $3"; }

while [ $# -gt 0 ]; do
  case "$1" in
    -h | --help) sed -n '2,24s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --download) download=--download; shift; continue ;;
    --folder | --minutes | --genotypes | --population | --searches | --workers | --runs | --full-steps) ;;
    *) fail "unknown option $1; see --help" ;;
  esac
  [ $# -ge 2 ] || fail "$1 needs a value; see --help"
  case "$1" in
    --folder) folder=$2 ;;
    --searches) searches=$2 ;;
    --minutes) whole "$1" "$2" 1; minutes=$2 ;;
    --genotypes) whole "$1" "$2" 1; genotypes=$2 ;;
    --population) whole "$1" "$2" 1; population=$2 ;;
    --workers) whole "$1" "$2" 1; workers=$2 ;;
    --runs) whole "$1" "$2" 0; runs=$2 ;;
    --full-steps) whole "$1" "$2" 1; full_steps=$2 ;;
  esac
  shift 2
done
one="(evolution|random|flat)"
[[ $searches =~ ^$one(,$one)*$ ]] || fail "--searches $searches must be evolution, random or flat, or several of them with commas"
command -v hpcnas >/dev/null || fail "there is no hpcnas on the PATH; activate its environment"
mkdir -p "$folder"

over="" command=""
# Ctrl-C reaches the command, too, which ends as it does at the end of a stretch; bash would begin the next one.
trap 'over=interrupted' INT
trap 'over=stopped; [ -z "$command" ] || kill -TERM "$command"' TERM

# within SIGNAL COMMAND...: runs it until the stretch is over, when it gets SIGNAL. Returns 1 if the stretch is over.
# By hand, as timeout passes Ctrl-C on to a command that has had it already; the second one makes a head leave at once.
within() {
  local signal=$1 status=0 started
  shift
  [ -z "$minutes" ] || [ "$SECONDS" -lt $((60 * minutes)) ] || over="$minutes minutes are over"
  [ -z "$over" ] || return 1
  (trap - INT; exec "$@") &  # bash starts what runs in the background with SIGINT ignored
  started=$!
  for _ in {1..20}; do  # until then it is a copy of this bash, which may drop a signal; a wrapper in bash remains one
    [ "/proc/$started/exe" -ef "/proc/$$/exe" ] || break
    sleep 0.1
  done
  command=$started
  # A signal that came meanwhile. If the command has had it, too, it leaves at once: it has begun nothing yet.
  [ -z "$over" ] || kill -"$signal" "$command" 2>/dev/null
  while kill -0 "$command" 2>/dev/null; do
    if [ -z "$over" ] && [ -n "$minutes" ] && [ "$SECONDS" -ge $((60 * minutes)) ]; then
      over="$minutes minutes are over"
      kill -"$signal" "$command"
    fi
    sleep 0.2
  done
  wait "$command" || status=$?
  command=""
  [ -z "$over" ] || return 1
  [ "$status" -eq 0 ] || exit "$status"
}

# search NAME OPTIONS...: one search, to its end
search() {
  local name=$1
  shift
  echo "results.sh: $name, $genotypes genotypes, in $folder/$name"
  # shellcheck disable=SC2086  # HPCNAS_SEARCH_ARGS is a list of words; SIGINT drains
  within INT hpcnas head --run "$folder/$name" --cluster local --workers "$workers" --dataset "${HPCNAS_DATASET:-fashion-mnist}" \
    ${HPCNAS_DATA:+--data "$HPCNAS_DATA"} $download --steps "$genotypes" --population "$population" "$@" ${HPCNAS_SEARCH_ARGS:-}
}

# Seeds of their own: with the same one the random genotypes of two searches would be the same.
search_by_name() {
  case "$1" in
    evolution) search evolution --search evolution --seed 1 ;;
    random) search random --search random --seed 2 ;;
    flat) search flat --search evolution --space flat --seed 3 ;;
  esac
}

# full_size RUN GENOTYPE: its trainings; those that are done are not repeated
full_size() {
  echo "results.sh: $runs full-size trainings of $2 for $folder/$1"
  # shellcheck disable=SC2086  # HPCNAS_FINAL_ARGS is a list of words; SIGTERM saves a checkpoint
  within TERM hpcnas final "$2" --run "$folder/$1" --model cifar ${HPCNAS_DATA:+--data "$HPCNAS_DATA"} --runs "$runs" \
    --steps "$full_steps" ${HPCNAS_FINAL_ARGS:-}
}

full_sizes() {
  local name
  [ "$runs" -gt 0 ] || return 0
  for name in ${searches//,/ }; do
    bash "$jobs/reproduce_table1.sh" --select "$folder/$name" || exit
    [ "$name" = random ] || full_size "$name" "$folder/$name/table1-architecture.json" || return 1
    full_size "$name" "$folder/$name/table1-best.json" || return 1
  done
  full_size "${searches%%,*}" published
}

results() {
  local name
  for name in ${searches//,/ }; do
    search_by_name "$name" || return 1
  done
  full_sizes
}

write_reports() {
  local name found=()
  for name in ${searches//,/ }; do
    [ ! -f "$folder/$name/run.toml" ] || found+=("$folder/$name")
  done
  [ ${#found[@]} -gt 0 ] || return 0
  hpcnas report "${found[@]}" --force --out "$folder/results.md" --format markdown --figures "$folder/figures"
  hpcnas report "${found[@]}" --force --out "$folder/results.html" --format html
}

if results; then
  end="everything is there"
else
  end="$over; the same command goes on, here or, with a copy of $folder, on another machine"
fi
write_reports
echo "results.sh: $end; tables and figures: $folder/results.md, results.html, figures/"
