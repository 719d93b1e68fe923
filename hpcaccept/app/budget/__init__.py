"""Makes a run fit a budget, says on which nodes, and what it buys."""
