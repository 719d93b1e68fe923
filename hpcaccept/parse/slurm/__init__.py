"""What Slurm's commands print: jobs, nodes, the site, its MPI plugins."""
