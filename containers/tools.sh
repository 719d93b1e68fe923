#!/usr/bin/env bash
# Compiles the programs that the checks nccl_tests, nvbandwidth and gpu_burn start, each from one pinned commit.
#
# Usage, where nvcc, NCCL's headers and cuBLAS are:
#   tools.sh packages        what compiling needs, from Debian's or Ubuntu's packages (root)
#   tools.sh build FOLDER    programs in FOLDER/bin, their licences in FOLDER/licences
#
# Environment: CUDA_HOME, NCCL_HOME (empty: where compilers look), CUDA_ARCHITECTURES ("90 100"),
# NCCL_TESTS, NVBANDWIDTH, GPU_BURN (a mirror of each repository, for sites without the internet).
set -euo pipefail

CUDA_HOME=${CUDA_HOME:-/usr/local/cuda}
read -ra architectures <<<"${CUDA_ARCHITECTURES:-75 80 86 89 90 100 120}"
jobs=$(nproc)

# Licences: BSD-3-Clause, Apache-2.0, BSD-2-Clause. A commit is its own checksum.
readonly nccl_tests_commit=a0b82b2260cf5152b9f8c061bbf7eaf0ba096432 # v2.19.6
readonly nvbandwidth_commit=66746a3bef61c8c2e12ab34955310da70b9e38cb # v0.8
readonly gpu_burn_commit=3ead140434da9473582b68452f7115967a7a0581    # 2026-05-31; it has no tags

fetch() { # fetch NAME REPOSITORY COMMIT: the folder NAME holds that commit
  git init --quiet "$1"
  git -C "$1" fetch --quiet --depth 1 "$2" "$3"
  git -C "$1" checkout --quiet --detach FETCH_HEAD
  [[ $(git -C "$1" rev-parse HEAD) == "$3" ]]
  install -D --mode 0644 "$1"/LICENSE* "$target/licences/$1"
}

build_nccl_tests() {
  fetch nccl-tests "${NCCL_TESTS:-https://github.com/NVIDIA/nccl-tests.git}" "$nccl_tests_commit"
  local gencode=() one last=${architectures[-1]}
  for one in "${architectures[@]}"; do
    gencode+=("-gencode=arch=compute_$one,code=sm_$one")
  done
  # And as PTX, for GPUs that come later.
  gencode+=("-gencode=arch=compute_$last,code=compute_$last")
  make -C nccl-tests/src -j "$jobs" BUILDDIR="$PWD/nccl-tests/build" MPI=0 CUDA_HOME="$CUDA_HOME" CUDARTLIB=cudart_static \
    ${NCCL_HOME:+"NCCL_HOME=$NCCL_HOME"} NVCC_GENCODE="${gencode[*]}" build
  install --mode 0755 nccl-tests/build/*_perf "$target/bin/"
}

build_nvbandwidth() {
  fetch nvbandwidth "${NVBANDWIDTH:-https://github.com/NVIDIA/nvbandwidth.git}" "$nvbandwidth_commit"
  local all="${architectures[*]}"
  # The driver's libraries (cuda, nvidia-ml) are not in an image: CUDA has stubs of them to link with.
  LIBRARY_PATH="$CUDA_HOME/lib64/stubs${LIBRARY_PATH:+:$LIBRARY_PATH}" CUDACXX="$CUDA_HOME/bin/nvcc" \
    cmake -S nvbandwidth -B nvbandwidth/build -DCMAKE_CUDA_ARCHITECTURES="${all// /;}" \
    -DCMAKE_EXE_LINKER_FLAGS="-L$CUDA_HOME/lib64/stubs"
  cmake --build nvbandwidth/build --parallel "$jobs"
  install --mode 0755 nvbandwidth/build/nvbandwidth "$target/bin/"
}

build_gpu_burn() {
  fetch gpu-burn "${GPU_BURN:-https://github.com/wilicc/gpu-burn.git}" "$gpu_burn_commit"
  # Its comparing kernel is PTX of the oldest architecture, which every newer one takes. It must lie beside the program.
  make -C gpu-burn CUDAPATH="$CUDA_HOME" COMPUTE="${architectures[0]}" gpu_burn
  install --mode 0755 gpu-burn/gpu_burn "$target/bin/"
  install --mode 0644 gpu-burn/compare.fatbin "$target/bin/"
}

case "${1-}" in
  packages)
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet
    apt-get install --quiet --yes --no-install-recommends ca-certificates cmake g++ git libboost-program-options-dev make
    rm -rf /var/lib/apt/lists/*
    ;;
  build)
    target=$(realpath --canonicalize-missing "$2")
    work=$(mktemp --directory)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$target/bin"
    cd "$work"
    build_nccl_tests
    build_nvbandwidth
    build_gpu_burn
    ;;
  *)
    sed -n '2,/^set -/{s/^# \{0,1\}//p}' "$0" >&2
    exit 2
    ;;
esac
