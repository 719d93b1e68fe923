"""The life of baselines: learned, imported, built, checked, approved and retired."""
