"""Faults made on purpose: each must be found, with the right name, and nobody healthy may be blamed."""
