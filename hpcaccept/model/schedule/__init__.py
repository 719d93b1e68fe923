"""Nouns of scheduled runs: what is run, what was recorded of it, and where it stands."""
