#!/usr/bin/env bash
# Train on the nodes of a Slurm cluster, and go on by itself after every interruption.
#
#     sbatch --nodes 4 --gpus-per-node 8 scripts/slurm.sh --model /shared/Qwen2-VL-7B-Instruct \
#         --train-json ... --output-dir /shared/runs/first
#
# Submit it from the project's folder. All flags behind its name are train.py's; --output-dir must
# lie on storage that all nodes share, since every process writes its part of a checkpoint there.
# What is said below by #SBATCH may be said anew to sbatch. docs/scaling.md explains each line.
#
#SBATCH --job-name=groupwise
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
# One torchrun on each node; it starts a process for each GPU.
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --exclusive
#SBATCH --time=24:00:00
# This script is told so many seconds before the time is up: a step, a checkpoint, and some more.
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.out

set -uo pipefail
GRACE=240 # seconds that processes have to save before they are killed; below what --signal says

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000)) # another job on the same node takes another

# Where nodes have several networks, name the one that NCCL and gloo may use:
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

is_asked=0
stop() { # every torchrun gets SIGTERM and hands it on: the step ends, a checkpoint is written
    is_asked=1
    scancel --signal=TERM "$SLURM_JOB_ID"
}
trap stop USR1 TERM

# Each start of the job is a rendezvous of its own: nobody waits for a node of the last one.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_NNODES" \
    --nproc-per-node "${SLURM_GPUS_ON_NODE:-8}" \
    --rdzv-backend c10d \
    --rdzv-endpoint "$first:$port" \
    --rdzv-id "$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}" \
    --max-restarts 3 \
    --shutdown-timeout "$GRACE" \
    train.py --resume auto "$@" &
running=$!

# A signal ends a wait early; the job is through when srun is.
status=1
while kill -0 "$running" 2>/dev/null; do
    wait "$running"
    status=$?
done

# Stopped before it was done: it goes on where it was, as soon as there are nodes again.
if [ "$is_asked" = 1 ] && [ "$status" != 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
