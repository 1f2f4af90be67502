"""Overrides: changes to one user's limits at run time."""
