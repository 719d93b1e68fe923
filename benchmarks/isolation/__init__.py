"""What isolation finds in simulated fleets, and at what cost, beside the searches of others."""
