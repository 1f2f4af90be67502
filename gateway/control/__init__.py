"""The control plane: on a listener of its own, so that nothing of it is reachable from the public port."""
