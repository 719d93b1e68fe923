"""How baselines are learned, matched to what was measured, and guarded against decline."""
