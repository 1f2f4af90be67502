"""The law: pure Python, no await, no clock, no third-party import.

Bucket arithmetic, rules and their matching, and who is asking. All times are integer microseconds.
"""
