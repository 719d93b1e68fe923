"""Ranks together: waiting over MPI, process groups, verified exchanges."""
