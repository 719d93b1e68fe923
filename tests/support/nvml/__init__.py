"""A driver library without a GPU: nvml.c, and build.py that compiles it and says what it should answer."""
