"""Scheduled runs: each bound to a commit, started at its time, watched, stopped by rules, its results kept."""
