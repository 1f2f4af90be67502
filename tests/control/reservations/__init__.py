"""Reservations of check-limit, and how they are settled."""
