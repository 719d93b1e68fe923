"""What ``hpcaccept azure`` does, one module per use case."""
