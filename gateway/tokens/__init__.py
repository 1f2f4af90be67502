"""Signed JWTs: which are good."""
