"""Tokens: who is asking, and what an administrator may do."""
