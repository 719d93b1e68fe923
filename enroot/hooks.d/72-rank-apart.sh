#!/usr/bin/env bash
# One container per rank means one user namespace per rank, across which the kernel lets nobody read another's memory. Open MPI 4
# sees that, warns, and then hangs in the first message of 4 MB between two ranks of a node (4.1.4; 1 MB passes, and 5.0 does not
# hang). Told not to try, it copies through shared memory. Under Pyxis the ranks of a node share one container.
set -euo pipefail

setting=OMPI_MCA_btl_vader_single_copy_mechanism
if [[ -n ${PYXIS_VERSION-} || -z ${PMIX_RANK-}${SLURM_PROCID-} ]]; then exit 0; fi
if [[ -z ${!setting-} ]] && ! grep -q "^$setting=" "$ENROOT_ENVIRON"; then echo "$setting=none" >>"$ENROOT_ENVIRON"; fi
