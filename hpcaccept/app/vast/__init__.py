"""What `hpcaccept vast` does."""
