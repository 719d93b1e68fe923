"""Corrections to verdicts that no single question can make."""
