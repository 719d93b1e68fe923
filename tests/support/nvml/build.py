"""Compile the stand-ins for ``libnvidia-ml.so.1`` and ``libcuda.so.1``, and describe to it the GPUs of a node.

pynvml loads the library by name, once per process: a test starts a child whose ``LD_LIBRARY_PATH`` is the folder::

    library = build(tmp_path / "lib")
    node = describe(tmp_path / "node", [h100(0), h100(1, state="lost")])
    subprocess.run([sys.executable, "-c", …], env={**os.environ, **environment(library, node)})
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from support.compiler import shared_library

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOURCE = Path(__file__).with_name("nvml.c")
_CUDA = Path(__file__).with_name("cuda.c")


def build(folder: Path, *defines: str) -> Path:
    """The compiled stand-in, and that for CUDA beside it, in a folder that is made where it is missing.

    Args:
        folder: where the library goes.
        defines: ``OLD_DRIVER`` leaves out the functions that drivers before 2023 did not have, ``FABRIC_V2`` the newest
            form in which the fabric is told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flags = ("-fvisibility=hidden", "-pthread", *(f"-D{name}" for name in defines))
    shared_library(_CUDA, folder / "libcuda.so.1", "-fvisibility=hidden")
    return shared_library(_SOURCE, folder / "libnvidia-ml.so.1", *flags)


def h100(index: int, **changes: str) -> dict[str, str]:
    """A healthy GPU of a usual node of eight, with what a test wants otherwise.

    ``state`` is ``ok``, ``lost`` (cannot be opened), ``lost_later`` (silent once opened) or an error on opening. With
    ``!gpu_is_lost`` as its value any question fails. ``mig_uuids`` is a list with commas, an empty word in it a hole.
    All other keys stand in ``nvml.c`` with what they mean, and are healthy unless they are given.
    """
    healthy = {
        "state": "ok",
        "name": "NVIDIA H100 80GB HBM3",
        "uuid": f"GPU-{index:08x}-aaaa-bbbb-cccc-{index:012x}",
        "serial": f"16523240000{index:02d}",
        "pci_bus_id": f"00000000:{0x18 + index:02X}:00.0",
        "vbios": "96.00.89.00.01",
        "memory_bytes": str(81559 << 20),
        "power_limit_mw": "700000",
        "ecc_mode": "enabled",
        "mig_mode": "disabled",
        "mig_uuids": "",
        "persistence": "enabled",
        "pcie_gen_max": "5",
        "pcie_width_max": "16",
    }
    return {**healthy, **changes}


def describe(path: Path, gpus: Sequence[dict[str, str]], **changes: str) -> Path:
    """The file that tells the stand-in what to answer; the system's keys are ``init``, ``count`` and the versions.

    Described again while a program runs, the stand-in answers from the new one: it replaces the old in one step.
    """
    system = {"init": "ok", "count": "ok", "driver": "550.54.15", "cuda_driver": "12040", **changes}
    lines = [f"system {_pairs(system)}", *(f"gpu {_pairs(gpu)}" for gpu in gpus)]
    whole = path.with_name(f".{path.name}.new")
    whole.write_text("\n".join(lines) + "\n")
    whole.replace(path)
    return path


def environment(library: Path, description: Path) -> dict[str, str]:
    """What a child process needs to find both."""
    return {"LD_LIBRARY_PATH": str(library.parent), "HPCACCEPT_FAKE_NVML": str(description)}


def _pairs(values: dict[str, str]) -> str:
    return "; ".join(f"{key}={value}" for key, value in values.items())
