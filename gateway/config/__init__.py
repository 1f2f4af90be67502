"""Reads the YAML files into settings and rules, once, at the border. Every error has its place and says what to do.

A `Reader` is a value: it reads a node, and says in words and as JSON Schema what may stand there. A `Section` reads a
mapping by a table of readers. The docs and `gateway schema` are written from the sections `GATEWAY`, `RULES` and
`RULE_TESTS`.
"""
