#!/usr/bin/env bash
# On a node of the cluster: test what the nodes of a host file do together, with a verdict (the suite fabric).
#   run-nccl-test.sh hostfile [OPTIONS of hpcaccept submit]
# GPUS: of each node (8). RUNS: a folder that all nodes see (runs). The variables are those of ND H100 v5 and ND H200 v5 unless they are set already.
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: ${0##*/} HOSTFILE [OPTIONS of hpcaccept submit]" >&2
  exit 2
fi
hostfile=$1
shift
nodes=$(awk '!/^[[:space:]]*(#|$)/ { print $1 }' "$hostfile" | paste -sd, -)

topology=/opt/microsoft/ndv5-topo.xml
if [ -e "$topology" ]; then
  export NCCL_TOPO_FILE=${NCCL_TOPO_FILE:-$topology}
  export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-eth0} NCCL_IB_QPS_PER_CONNECTION=${NCCL_IB_QPS_PER_CONNECTION:-4}
  export NCCL_P2P_NET_CHUNKSIZE=${NCCL_P2P_NET_CHUNKSIZE:-524288} NCCL_MIN_NCHANNELS=${NCCL_MIN_NCHANNELS:-32}
  export NCCL_PXN_DISABLE=${NCCL_PXN_DISABLE:-1} NCCL_IGNORE_CPU_AFFINITY=${NCCL_IGNORE_CPU_AFFINITY:-1}
  export UCX_TLS=${UCX_TLS:-rc} UCX_NET_DEVICES=${UCX_NET_DEVICES:-mlx5_ib0:1}
fi

exec "${HPCACCEPT:-hpcaccept}" submit --launcher hosts --nodelist "$nodes" --gpus-per-node "${GPUS:-8}" \
  --suite fabric --runs-dir "${RUNS:-runs}" "$@"
