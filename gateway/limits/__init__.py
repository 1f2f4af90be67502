"""The law, in pure Python: no await, no clock, no third-party import.

Bucket arithmetic, rules and their matching, and the identity of callers. All times are integer microseconds.
"""
