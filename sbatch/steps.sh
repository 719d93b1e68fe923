# shellcheck shell=bash
# Runs the suite of a script of this folder. Each sources this file once its parameters are set; it is not for sbatch itself.
#
# Which command comes next, and what follows from a crash, is decided by 'hpcaccept sbatch-step' with the code of 'hpcaccept
# submit': here commands are only run. It works where the ranks do, in IMAGE or with the host's Python. An image knows
# nothing of Slurm, so 'hpcaccept sbatch-step' is handed what Slurm says, word for word, and leaves the next command in a file,
# which bash 4.4 or newer reads.

# Within "srun" (a shell by srun --pty, or this script as its program) the first task runs the suite; its steps share what that task
# holds, and none of its bindings.
((${SLURM_PROCID:-0} == 0)) || exit 0
if [[ -n ${SLURM_STEP_ID:-} ]]; then
  unset "${!SLURM_CPU_BIND@}" "${!SLURM_MEM_BIND@}" "${!SLURM_STEP@}" SLURM_DISTRIBUTION SLURM_NTASKS SLURM_NPROCS SLURM_NNODES
  export SLURM_OVERLAP=1
fi

judged=0
# Slurm is asked for everything: options that somebody has set for their own convenience, and hidden partitions, leave out some.
# The same as hpcaccept.transport.slurm does, which no script can call.
unset "${!SQUEUE_@}" "${!SINFO_@}" "${!SCONTROL_@}" "${!SACCT_@}" "${!SCANCEL_@}" SLURM_TIME_FORMAT SLURM_BITSTR_LEN
export SQUEUE_ALL=1 SINFO_ALL=1 SCONTROL_ALL=1
# A container under a name outlives its job, with some gigabytes on every node. And 1 would call a node unfit: only a
# verdict may say that.
end() {
  local code=$? words=(${unpacked[@]+"${unpacked[@]}"})
  # Before 'hpcaccept sbatch-step' has said what is to be removed on all nodes, this one may have unpacked the image for it.
  [[ ! -e ${run:-}/leave ]] || mapfile -d '' -t words <"$run/leave"
  ((${#words[@]} == 0)) || timeout 60 "${words[@]}" >"$run/logs/leave.out" 2>"$run/logs/leave.err" || true
  exit $((code == 1 && !judged ? 3 : code))
}
trap end EXIT
unpacked=()

# Where this run is kept, and how hpcaccept is entered on this node: as by the ranks.
prepare() {
  local seen python own
  mkdir -p "$RUNS_DIR"
  RUNS_DIR=$(realpath "$RUNS_DIR")
  run="$RUNS_DIR/$(date -u +%Y%m%d-%H%M%S)-${SLURM_JOB_NAME//[^[:alnum:]._-]/_}-$SLURM_JOB_ID"
  export HPCACCEPT_RUNS_DIR="$RUNS_DIR"
  enter=()
  if [[ -n $IMAGE ]]; then
    # Suites, settings and baselines lie where sbatch was typed, an image's digest beside it: 'hpcaccept sbatch-step' sees both.
    seen="$SLURM_SUBMIT_DIR:$SLURM_SUBMIT_DIR:ro"
    if [[ -f $IMAGE ]]; then
      IMAGE=$(realpath "$IMAGE")
      seen+=",${IMAGE%/*}:${IMAGE%/*}:ro"
    fi
    export HPCACCEPT_CONTAINER_RUNTIME=pyxis HPCACCEPT_CONTAINER_IMAGE="$IMAGE" HPCACCEPT_CONTAINER_MOUNTS="$MOUNTS"
    python="${HPCACCEPT_PYTHON:-python3}"
    # The container is that of the steps, by its name: it is unpacked once.
    enter=(srun --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" --overlap --mpi=none
      --container-image="$IMAGE" --container-name="hpcaccept-${run##*/}" --no-container-mount-home --container-readonly
      --no-container-entrypoint --container-mounts="$seen,$RUNS_DIR:$RUNS_DIR${MOUNTS:+,$MOUNTS}"
      --container-workdir="$SLURM_SUBMIT_DIR" --container-env="$(compgen -e HPCACCEPT_ | paste -sd,)")
    unpacked=(srun --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" --overlap --mpi=none
      enroot remove --force "pyxis_hpcaccept-${run##*/}")
  else
    own="${BASH_SOURCE[0]%/*}"
    # Scripts of an installed hpcaccept go with its Python: PREFIX/lib/pythonX.Y/site-packages/hpcaccept/_share/sbatch.
    if [[ $own == */hpcaccept/_share/sbatch ]]; then own="${own%/*/*/*/*/*/*}/bin/python3"; else own="$SLURM_SUBMIT_DIR/.venv/bin/python"; fi
    python="${PYTHON:-$own}"
    [[ -x $python ]] || python=python3
  fi
  enter+=("$python" -m hpcaccept)
  mkdir -p "$run/logs"
}

# Have 'hpcaccept sbatch-step' leave the next command in the run folder, and read it. Where that fails, the job ends.
plan() {
  local code=0
  "${enter[@]}" sbatch-step --folder "$run" --left "$(squeue -h -j "$SLURM_JOB_ID" -o %L)" \
    --variables "$(compgen -e)" "$@" || code=$?
  if ((code)); then
    echo "'hpcaccept sbatch-step' failed on $SLURMD_NODENAME${IMAGE:+ in $IMAGE}, exit code $code: why stands above." >&2
    [[ -z $IMAGE ]] || echo "If it is that node alone that cannot enter it: sbatch --exclude=$SLURMD_NODENAME …" >&2
    exit $((code == 2 ? 2 : 3))
  fi
  mapfile -d '' -t next <"$run/next"
}

# Remove from the nodes what runs left there that were ended while they unpacked, and say so.
sweep() {
  local node name words=()
  [[ ! -s $run/sweep ]] || mapfile -d '' -t words <"$run/sweep"
  ((${#words[@]})) || return 0
  timeout 60 "${words[@]}" >"$run/logs/sweep.out" 2>"$run/logs/sweep.err" || true
  while read -r node name; do echo "An earlier run left a container on $node: $name was removed."; done <"$run/logs/sweep.out"
}

# Run what 'hpcaccept sbatch-step' has left: STEP START_S COUNT VARIABLE… COMMAND…, where COUNT variables are NAME=VALUE, or a
# NAME that must go. Sets $code and $took. A launch that hangs before any rank has begun is seen by nobody else: it is
# ended after START_S.
launch() {
  local step=$1 start_s=$2 count=$3 begun=$SECONDS word
  (
    for word in "${@:4:count}"; do
      if [[ $word == *=* ]]; then export "${word?}"; else unset "$word"; fi
    done
    exec "${@:4+count}"
  ) >"$run/logs/step-$step.out" 2>"$run/logs/step-$step.err" &
  until [[ -n $(ls "$run/records/$step") ]] || ! kill -0 $! 2>/dev/null; do
    ((SECONDS - begun < start_s)) || kill $! 2>/dev/null || true
    sleep 0.2
  done
  code=0
  wait $! || code=$?
  took=$((SECONDS - begun))
}

# Run the suite to its verdict, whose exit code this returns. Options of 'hpcaccept sbatch-step' may follow:
# --set CHECK.PARAM=VALUE, --skip CHECK.
run_suite() {
  local code took next=()
  prepare
  plan --suite "$SUITE" ${GPUS_PER_NODE:+--gpus-per-node "$GPUS_PER_NODE"} \
    --nodes "$(scontrol show hostnames "$SLURM_JOB_NODELIST")" \
    --gres "$(sinfo -h -N -n "$SLURM_JOB_NODELIST" -o %G)" --mpi-list "$(srun --mpi=list 2>&1)" "$@"
  sweep
  while ((${#next[@]})); do
    launch "${next[@]}"
    plan --after "${next[0]}" --returncode "$code" --took "$took"
  done
  code=0
  "${enter[@]}" sbatch-step --folder "$run" --conclude || code=$?
  echo "Run folder: $run"
  # Without a report the exit code is that of srun or of the container, and no verdict.
  [[ ! -s $run/report.json ]] || judged=1
  return "$code"
}
