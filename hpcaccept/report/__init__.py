"""What people and programs get to see. One file per format, from one model."""
