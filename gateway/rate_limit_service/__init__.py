"""Envoy's rate limit service over gRPC: the gateway's decisions for an Envoy that asks for them by descriptors."""
