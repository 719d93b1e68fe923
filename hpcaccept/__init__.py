"""Acceptance testing for GPU clusters: finds the nodes, GPUs and links that are not fit for work."""

__version__ = "0.1.0"
