"""``hpcaccept isolate``: what is ordered, and what the journal of its rounds answers."""
