"""Tokens: who a caller is, and what an administrator may do."""
