# The one file of jobs/ that a site edits. Every script of this folder reads it, and so do the workers of a search;
# `source jobs/env.sh` on the login node before `sbatch`, and sbatch knows the account too.
# Everything here can be overridden: a variable that is set already is kept, sbatch's own options come before all.

# 1. Modules and the Python environment that hpcnas is installed in.
# module load python/3.11 cuda
# source "$HOME/venvs/hpcnas/bin/activate"

# 2. Who pays: sbatch reads this for every job of this folder and for the workers.
# export SBATCH_ACCOUNT=${SBATCH_ACCOUNT:-my-project}

# 3. Where the workers of a search run: options of `hpcnas head`, one variable each. Empty: the cluster's default.
export HPCNAS_PARTITION=${HPCNAS_PARTITION-} # --partition, the one with the GPUs
export HPCNAS_QOS=${HPCNAS_QOS-}             # --qos
export HPCNAS_TIME=${HPCNAS_TIME-}           # --time of a worker, such as 8:00:00; it is replaced when it ends
export HPCNAS_CPUS=${HPCNAS_CPUS-}           # --cpus-per-worker
export HPCNAS_MEM=${HPCNAS_MEM-}             # --mem of a worker, such as 16G

# 4. Full-size trainings on ImageNet: GPUs of a node, each with a rank (`bash jobs/final_imagenet.sh`, jobs/reproduce_table1.sh).
export HPCNAS_GPUS_PER_NODE=${HPCNAS_GPUS_PER_NODE-} # 8 unless a number stands here, such as 4

# 5. Data sets: a folder that all nodes see.
# export HPCNAS_DATA=${HPCNAS_DATA:-/data/$USER/hpcnas}
