"""Which of the GPUs that this process may see CUDA can really start. Asked of libcuda itself, in a process of its own.

The driver's library lists GPUs on which CUDA then fails: with uncorrectable memory errors, a fabric that is not set up, a
confidential mode that accepts no work, a MIG mode without instances, an exclusive mode that somebody else holds.

Source: https://docs.nvidia.com/cuda/cuda-driver-api/ (cuInit, cuDeviceGetCount, cuDevicePrimaryCtxRetain).
"""

from __future__ import annotations

import ctypes

_LIBRARY = "libcuda.so.1"
_NO_DEVICE = 100


def start_all() -> tuple[int, dict[int, str]]:
    """How many GPUs CUDA counts, and of those that it cannot start CUDA's number → why.

    A context is made on each and given back. Takes up to a second for a GPU, and may hang on one that is broken.

    Raises:
        OSError: libcuda cannot be loaded, or CUDA does not start at all.
    """
    cuda = ctypes.CDLL(_LIBRARY)
    code = cuda.cuInit(0)
    if code == _NO_DEVICE:
        return 0, {}
    if code:
        raise OSError(f"cuInit: {_name(cuda, code)}")
    count = ctypes.c_int()
    if code := cuda.cuDeviceGetCount(ctypes.byref(count)):
        raise OSError(f"cuDeviceGetCount: {_name(cuda, code)}")
    why = {number: _start(cuda, number) for number in range(count.value)}
    return count.value, {number: said for number, said in why.items() if said}


def _start(cuda: ctypes.CDLL, number: int) -> str:
    """Why a context cannot be made on this GPU; empty when it can."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    code = cuda.cuDeviceGet(ctypes.byref(device), number)
    code = code or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if code:
        return _name(cuda, code)
    cuda.cuDevicePrimaryCtxRelease_v2(device)
    return ""


def _name(cuda: ctypes.CDLL, code: int) -> str:
    """``CUDA_ERROR_SYSTEM_NOT_READY (802)``."""
    text = ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(text))
    return f"{text.value.decode('ascii', 'replace')} ({code})" if text.value else f"error {code}"
