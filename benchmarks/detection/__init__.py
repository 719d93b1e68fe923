"""Simulated fleets with known faults: the tables of docs/explanation/detection.md."""
