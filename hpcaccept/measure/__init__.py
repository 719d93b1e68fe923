"""The instruments of the checks: timing, devices, MPI, the GPU driver, the host."""
