#!/usr/bin/env bash
# A sweep on a cluster with Slurm, Open MPI and a file system that all nodes share. Not run here: adapt it.
#
#   sbatch experiments/sweep/slurm.sh spec.json /shared/out
#
#SBATCH --job-name=gka-sweep
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=16
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} OMP_WAIT_POLICY=passive
# a job that is put back into the queue goes on from the units that are kept
srun build/release/bin/gka-sweep "$1" --out "$2"
