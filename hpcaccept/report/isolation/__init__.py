"""What people and programs see of an isolation: its answer at a terminal, as JSON and as a page."""
