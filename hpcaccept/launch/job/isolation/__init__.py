"""The rounds of an isolation: groups of nodes that are tested side by side in one job, until it is known whose fault it is."""
