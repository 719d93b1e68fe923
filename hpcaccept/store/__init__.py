"""What is kept, and in which form: journals (JSON lines), the run file and baselines (HDF5), the run folder."""
