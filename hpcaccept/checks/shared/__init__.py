"""What several checks share. Nothing in this package is a check."""
