"""Processes: the supervisor, its workers, and the sockets they share."""
