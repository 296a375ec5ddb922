#!/bin/bash
# A training on several machines under SLURM: sbatch docs/slurm.sh packs/photos --out runs/photos --method matdr
#
# Arguments are those of `recombine train`. The pack and the run's folder are on a disk that all machines share. Before its time
# is over the job saves, is queued again, and goes on from there; docs/many.md says how.
#SBATCH --job-name=recombine
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1        # one torchrun on each machine, which starts a process for each GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@180        # to this script, three minutes before the end
#SBATCH --requeue
#SBATCH --open-mode=append

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
call=$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}

again() {
    kill -TERM "$training"         # srun hands it to every torchrun, torchrun to every process, which saves and ends
    wait "$training"
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
}
trap again USR1

srun --kill-on-bad-exit=1 torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${PROCESSES:-gpu}" \
    --rdzv-backend c10d --rdzv-endpoint "$first:${PORT:-29500}" --rdzv-id "$call" \
    --no-python recombine train "$@" &
training=$!
wait "$training"
