"""What an operator can set: frozen values, with their defaults.

A class here is a section of `gateway.yaml`, a field is a key. Durations are in seconds, sizes in bytes. The sentence
that describes a field is the one that docs/settings.md and the JSON Schema show.
"""
