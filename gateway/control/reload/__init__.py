"""Reloading rules: in every worker of a gateway, or in every gateway of the fleet."""
