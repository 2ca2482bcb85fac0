#!/bin/bash
# Everything that Table 1 of the paper needs, as a chain of dependent Slurm jobs. Run it on a login node:
#
#   bash jobs/reproduce_table1.sh                      # the paper's budgets: 28,000 genotypes, 200 GPUs, days
#   bash jobs/reproduce_table1.sh --scale 0.01         # a rehearsal of the same chain on a hundredth of them
#   bash jobs/reproduce_table1.sh --dry-run            # shows what would be submitted, submits nothing
#
# Four searches (hierarchical and flat evolution, constrained flat evolution, hierarchical random search); after each, the
# full-size trainings of its random architecture (step 1), of the best of its first 200 (random search) and of its best;
# at last one report over all. Jobs wait for each other by --dependency, so that you may log out.
#
#   --scale S        share of the paper's genotypes, training steps and trainings (default 1)
#   --runs DIR       where the run folders go (default runs/table1); a run that is there goes on where it stands
#   --workers N      workers of each search (default 200, scaled too)
#   --no-imagenet    leave the ImageNet column to dashes
#   --dry-run        print the commands only
#
# Data, partition and account: HPCNAS_DATASET (default cifar10), HPCNAS_DATA, HPCNAS_IMAGENET (folder with train/ and val/)
# and jobs/env.sh, as for the single jobs. HPCNAS_SEARCH_ARGS and HPCNAS_FINAL_ARGS: further options of `hpcnas head` and of
# `hpcnas final`; they come last and win.
set -euo pipefail

jobs=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scale=1 runs=runs/table1 workers="" imagenet=yes dry_run=no part="" part_of=""

fail() { echo "reproduce_table1.sh: $*" >&2; exit 2; }

while [ $# -gt 0 ]; do
  case "$1" in
    --scale) scale=${2:?"--scale needs a number"}; shift 2 ;;
    --runs) runs=${2:?"--runs needs a folder"}; shift 2 ;;
    --workers) workers=${2:?"--workers needs a number"}; shift 2 ;;
    --no-imagenet) imagenet=no; shift ;;
    --dry-run) dry_run=yes; shift ;;
    --select) part=select part_of=${2:?"--select needs a run"}; shift 2 ;;
    --report) part=report; shift ;;
    -h | --help) sed -n '2,24s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option $1; see --help" ;;
  esac
done
[[ $scale =~ ^(0*\.[0-9]*[1-9][0-9]*|0*1(\.0*)?)$ ]] || fail "--scale $scale must be above 0 and at most 1, as 0.01"

# scaled NUMBER LEAST: NUMBER x scale, rounded, at least LEAST
scaled() { awk -v n="$1" -v s="$scale" -v least="$2" 'BEGIN { v = int(n * s + 0.5); print (v < least ? least : v) }'; }

steps=$(scaled 7000 24)
population=$(scaled 200 8)
train_steps=$(scaled 5000 20)
workers=${workers:-$(scaled 200 2)}
final_steps=$(scaled 80000 50)
imagenet_steps=$(scaled 200000 50)
trainings=$(scaled 5 2)

# shellcheck source=/dev/null  # the site's own file
[ ! -f "$jobs/env.sh" ] || source "$jobs/env.sh"

searches="hierarchical-evolution flat-evolution flat-constrained-evolution hierarchical-random"

# Parts of the chain that are jobs themselves: this script calls itself with --select and --report.

# Which genotypes of a finished search are in Table 1? They become genotype files, which the trainings wait for.
select_genotypes() {
  hpcnas report "$1" --format json | python3 -c '
import json, sys
rows = [row for row in json.load(sys.stdin)["table1"] if not row["published"]]
if not rows:
    sys.exit("reproduce_table1.sh: no genotype is evaluated yet")
for place, row in (("architecture", rows[0]), ("search", rows[min(1, len(rows) - 1)]), ("best", rows[-1])):
    print(place, row["individual"])
' | while read -r place individual; do
    hpcnas show "$individual" --run "$1" --format json --force --out "$1/table1-$place.json"
  done
}

write_reports() {
  local name folders=()
  for name in $searches; do
    [ ! -f "$runs/$name/run.toml" ] || folders+=("$runs/$name")
  done
  hpcnas report "${folders[@]}" --force --out "$runs/table1.txt" --figures "$runs/figures"
  hpcnas report "${folders[@]}" --force --out "$runs/table1.tex" --format latex
  hpcnas report "${folders[@]}" --force --out "$runs/table1.html" --format html
}

case "$part" in
  select) select_genotypes "$part_of"; exit ;;
  report) write_reports; exit ;;
esac

# submit NAME DEPENDENCIES SBATCH-ARGUMENTS...: prints the job's id
submit() {
  local name=$1 after=$2
  shift 2
  # The scripts read HPCNAS_*, which a site with SBATCH_EXPORT=NONE would not pass on.
  local command=(sbatch --parsable --export=ALL --job-name "$name")
  # A chain with a broken link ends instead of waiting for ever.
  [ -z "$after" ] || command+=("--dependency=$after" --kill-on-invalid-dep=yes)
  command+=("$@")
  if [ "$dry_run" = yes ]; then
    echo "HPCNAS_RUN=${HPCNAS_RUN-} HPCNAS_GENOTYPE=${HPCNAS_GENOTYPE-} HPCNAS_ARGS='${HPCNAS_ARGS-}' ${command[*]}" >&2
    echo "<$name>"
    return
  fi
  local answer
  answer=$("${command[@]}") || { echo "reproduce_table1.sh: Slurm refused $name; what was submitted before goes on" >&2; exit 4; }
  echo "${answer%%;*}" # on a federation: id;cluster
}

[ "$dry_run" = yes ] || command -v sbatch >/dev/null || { echo "reproduce_table1.sh: there is no sbatch here; try --dry-run" >&2; exit 4; }
[ "$dry_run" = yes ] || mkdir -p "$runs/logs"

export HPCNAS_JOBS=$jobs HPCNAS_RUN HPCNAS_GENOTYPE HPCNAS_ARGS HPCNAS_DATASET=${HPCNAS_DATASET:-cifar10}
cifar_data=${HPCNAS_DATA-} imagenet_data=${HPCNAS_IMAGENET-}
search_args="--steps $steps --population $population --train-steps $train_steps --workers $workers"
final_ids=() per_node=()
[ -z "${HPCNAS_GPUS_PER_NODE:-}" ] || per_node=("--gpus-per-node=$HPCNAS_GPUS_PER_NODE" "--ntasks-per-node=$HPCNAS_GPUS_PER_NODE")
log=$runs/logs/%x-%j.log

# search NAME PLACES OPTIONS...: one search, then the trainings of what it found
search() {
  local name=$1 places=$2 place search_id select_id
  shift 2
  HPCNAS_RUN=$runs/$name HPCNAS_GENOTYPE="" HPCNAS_ARGS="$* $search_args${HPCNAS_SEARCH_ARGS:+ $HPCNAS_SEARCH_ARGS}"
  search_id=$(submit "search-$name" "" --output "$log" "$jobs/search.sh")
  HPCNAS_ARGS=""
  select_id=$(submit "select-$name" "afterok:$search_id" --output "$log" --wrap "bash '$jobs/reproduce_table1.sh' --select '$runs/$name'")
  for place in $places; do
    HPCNAS_GENOTYPE=$runs/$name/table1-$place.json
    HPCNAS_ARGS="--steps $final_steps${HPCNAS_FINAL_ARGS:+ $HPCNAS_FINAL_ARGS}"
    final_ids+=("$(submit "cifar-$name-$place" "afterok:$select_id" --output "$log" "--array=0-$((trainings - 1))" "$jobs/final_cifar10.sh")")
    if [ "$imagenet" = yes ]; then
      HPCNAS_ARGS="--steps $imagenet_steps${HPCNAS_FINAL_ARGS:+ $HPCNAS_FINAL_ARGS}"
      final_ids+=("$(HPCNAS_DATA=$imagenet_data HPCNAS_DATASET="" submit "imagenet-$name-$place" "afterok:$select_id" --output "$log" "${per_node[@]}" "$jobs/final_imagenet.sh")")
    fi
  done
}

[ -z "$cifar_data" ] || export HPCNAS_DATA=$cifar_data
search hierarchical-evolution "architecture search best" --space hierarchical --search evolution
search flat-evolution "architecture search best" --space flat --search evolution
search flat-constrained-evolution "best" --space flat-constrained --search evolution
search hierarchical-random "best" --space hierarchical --search random

HPCNAS_RUN="" HPCNAS_GENOTYPE="" HPCNAS_ARGS=""
# afterany: a training that failed leaves a dash in the table, not the table undone.
after=$(IFS=:; echo "afterany:${final_ids[*]}")
report_id=$(submit report "$after" --output "$log" --wrap "bash '$jobs/reproduce_table1.sh' --report --runs '$runs'")
echo "4 searches and ${#final_ids[@]} jobs of full-size training; the report, job $report_id, will be $runs/table1.html, .txt and .tex"
