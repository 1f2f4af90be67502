"""Where buckets live: the port, and what stands behind it."""
