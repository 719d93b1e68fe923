"""Simulated fleets with known faults, isolated by our own rounds and by those of others."""
