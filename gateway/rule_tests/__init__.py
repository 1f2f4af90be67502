"""Rule tests: requests on a virtual clock, decided by the law as the proxy would decide them."""
