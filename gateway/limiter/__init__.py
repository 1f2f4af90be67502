"""One door to a decision: `Limiter.check` says whether a request may pass, with or without Redis."""
