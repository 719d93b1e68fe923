"""What belongs to the launcher ``slurm`` and would make its file too long."""
