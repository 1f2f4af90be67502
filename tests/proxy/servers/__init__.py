"""Servers as other programs have them."""
