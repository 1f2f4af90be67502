"""A rate-limiting gateway: a reverse proxy that enforces token buckets kept in Redis."""

__version__ = "0.1.0"
