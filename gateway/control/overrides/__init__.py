"""Overrides of one user's limits at run time."""
