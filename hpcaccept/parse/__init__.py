"""Text of other programs → dataclasses. Pure, tested with recorded outputs."""
