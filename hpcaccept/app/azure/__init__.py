"""What does ``hpcaccept azure`` do? One module per use case."""
