"""The audit log: every change of limits, chained."""
