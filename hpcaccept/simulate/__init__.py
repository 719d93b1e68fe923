"""How good are the verdicts? A simulated fleet with known faults is judged by the code that judges real ones."""
