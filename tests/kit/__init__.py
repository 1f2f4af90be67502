"""What tests and benchmarks share. Neither imports the other; only `tests/benchmarks` imports what it tests."""
