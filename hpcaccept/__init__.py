"""Acceptance testing for GPU clusters: which nodes, GPUs and links are not fit for work?"""

__version__ = "0.1.0"
