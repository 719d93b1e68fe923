"""The plan of what will be run: suite × nodes × image → plan. Pure."""
