"""How fast, and how true: every number of docs/reference/performance.md, measured as a ratio in one run."""
