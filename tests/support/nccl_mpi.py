"""``all_reduce_perf`` as one MPI program of many processes: it joins the MPI of its launcher, and writes what nccl-tests' own writer wrote.

The layout is that of ``tests/data/nccl_tests/recorded`` (two_nodes, wrong), with the processes that are really there. As strict as the real one about its
options; nothing is computed.
"""

from __future__ import annotations

import sys
from pathlib import Path

RECORDED = Path(__file__).parents[1] / "data" / "nccl_tests" / "recorded"
#: The sizes that were recorded.
PARAMETERS = "min_bytes = 4096\nmax_bytes = 67108864\nfactor = 128\niterations = 5\nwarmup = 1\n"
_PROGRAM = """\
#!{python}
import json, os, pathlib, socket, sys
sys.path[:0] = [{root!r}]
recorded = pathlib.Path({recorded!r})
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
asked = {{"-g": "1", "-b": "4096", "-e": "67108864", "-f": "128", "-n": "5", "-w": "1", "-c": "1"}}
if len(sys.argv) % 2 == 0 or {{key: given.get(key) for key in asked}} != asked or set(given) - set(asked) - {{"-J"}}:
    sys.exit("stand-in: found " + " ".join(sys.argv[1:]))
if os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" or "NCCL_TESTS_MIN_BW" in os.environ:
    sys.exit("stand-in: foreign variables")
without_json = "STAND_IN_NO_JSON" in os.environ
if without_json and "-J" in given:
    print("invalid option '?'\\nUSAGE: all_reduce_perf")
    sys.exit(0)
me = [os.getpid(), socket.gethostname()]
if "STAND_IN_NO_MPI" in os.environ:
    rank, everybody = 0, [me]
else:
    from hpcaccept.measure.ranks import mpi
    world = mpi.start()
    rank, everybody = world.Get_rank(), world.allgather(me)
fails = os.environ.get("STAND_IN_FAILS", "")
if fails and int(fails) == rank:
    print(f"{{me[1]}}: Test NCCL failure all_reduce.cu:44 'unhandled cuda error (run with NCCL_DEBUG=INFO for details) / '")
    sys.stdout.flush()
    os._exit(3)
if fails and "STAND_IN_NO_MPI" not in os.environ:
    world.barrier()
kind = "wrong" if "STAND_IN_WRONG" in os.environ else "two_nodes"
if rank == 0 and without_json:
    lines = (recorded / "two_nodes.txt").read_text().splitlines()
    for line in lines:
        if line.startswith("#  Rank  0"):
            for number, (pid, host) in enumerate(everybody):
                print(f"#  Rank {{number:2}} Group  0 Pid {{pid:6}} on {{host}} device {{number:2}} [0000:18:00] NVIDIA H100 80GB HBM3")
        if not line.startswith(("#  Rank", "# Writing")):
            print(line)
elif rank == 0:
    document = json.loads((recorded / f"{{kind}}.json").read_text())
    document["config"].update(ngpus=1, nthreads=1)
    first = document["config"]["devices"][0]
    document["config"]["devices"] = [
        {{**first, "rank": number, "pid": pid, "hostname": host, "device": number}} for number, (pid, host) in enumerate(everybody)
    ]
    document["env"] = dict(os.environ)
    pathlib.Path(given["-J"]).write_text(json.dumps(document))
    print((recorded / f"{{kind}}.txt").read_text())
sys.exit(7 if kind == "wrong" else 0)
"""


def program(folder: Path, name: str = "all_reduce_perf") -> Path:
    """Write the program into a folder, which is to stand on the PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    root = str(Path(__file__).parents[2])
    file.write_text(_PROGRAM.format(python=sys.executable, root=root, recorded=str(RECORDED)))
    file.chmod(0o755)
    return file
