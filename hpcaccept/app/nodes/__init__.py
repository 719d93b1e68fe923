"""``hpcaccept nodes``: take nodes out of service and give them back, without touching what anybody else has done to them.

``look`` reads Slurm; ``allowed`` says which nodes are nobody else's, and how many may go; ``act`` changes one node at a time and reads back;
``gate`` says what a node has to show before it comes back; ``audit`` is the log that undo lives on.
"""
