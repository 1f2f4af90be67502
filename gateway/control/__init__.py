"""The control plane: what operators and services use, on a listener of its own, apart from the public port."""
