"""The audit log: every change of limits and every refused attempt."""
