"""Which cells of a matrix can be, and which of them are run tonight. Pure."""
