"""Logs and metrics for operators. Nothing here may delay a request or make one fail."""
