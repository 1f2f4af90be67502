"""Replays access logs: what rules would have done to the requests in them."""
