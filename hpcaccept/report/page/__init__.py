"""The HTML page of a run: markup, plots, matrices, and the columns of its tables, one file each."""
