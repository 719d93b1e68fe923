"""What is on the HTML page? Markup, plots, matrices, and the columns of its tables: one file each."""
