"""Redis: connections, scripts, and the buckets kept there."""
