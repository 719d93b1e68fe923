"""The instruments of the checks: timing, devices, MPI, NVML, the host."""
