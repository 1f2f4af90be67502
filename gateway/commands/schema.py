"""`gateway schema`: print the JSON Schema of gateway.yaml, rule files or rule tests, for editors."""

from typing import Any

from gateway.config.schema import FILES, schema_text


def add_commands(commands: Any) -> None:
    """Add `schema` to argparse's subcommands. Its `render` returns what to print."""
    schema = commands.add_parser(
        "schema",
        help="print the JSON Schema of gateway.yaml, rule files or rule tests",
        description="Print the JSON Schema of gateway.yaml, rule files or rule tests, for completion and checks in "
        "editors.",
    )
    schema.add_argument("kind", nargs="?", choices=FILES, default="gateway", help="(default %(default)s)")
    schema.set_defaults(render=lambda options: schema_text(options.kind))
