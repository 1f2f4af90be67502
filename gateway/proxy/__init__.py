"""The data plane: bytes in, a decision, bytes out."""
