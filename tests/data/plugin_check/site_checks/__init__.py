"""Checks of one site, for hpcaccept."""
