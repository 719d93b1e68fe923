"""Images × machines: planned, run, judged cell by cell, compared with the last time."""
