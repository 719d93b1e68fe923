"""Measures how good the verdicts are: a simulated fleet with known faults is judged by the code that judges real ones."""
