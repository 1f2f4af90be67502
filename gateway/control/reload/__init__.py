"""Reloading the rules: in all workers of a gateway or in none, or in every gateway of the fleet."""
