"""Reservations: what check-limit has charged for work whose cost a service knows only when it has done it."""
