"""What an operator can set: frozen values and URLs."""
