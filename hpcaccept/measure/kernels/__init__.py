"""The work that is timed, and how its result is verified."""
