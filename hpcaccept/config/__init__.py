"""Settings and suites: read, layered, and every value with the place it came from."""
