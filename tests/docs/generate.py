"""Writes what is generated: docs/settings.md, docs/admin-api.html, tables in docs/operations.md and docs/rules.md, and
config/schema/.

Run it after a change to settings, rule keys or metrics: `.venv/bin/python -m tests.docs.generate`.
"""

import re
from collections.abc import Iterable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

from gateway.config.gateway_file import GATEWAY
from gateway.config.reader import Value
from gateway.config.schema import FILES, schema_text
from gateway.config.section import Section
from gateway.control.openapi import document
from gateway.control.openapi_page import page
from gateway.limits.path import __doc__ as path_policy
from gateway.telemetry.definitions import METRICS
from tests.docs.sections import sections_in

ROOT = Path(__file__).parents[2]
SETTINGS = ROOT / "docs" / "settings.md"
OPERATIONS = ROOT / "docs" / "operations.md"
ADMIN_API = ROOT / "docs" / "admin-api.html"
RULE_FILES = ROOT / "docs" / "rules.md"
SCHEMAS = ROOT / "config" / "schema"

_HEAD = """\
# Settings

<!-- Generated from gateway/settings/ by `python -m tests.docs.generate`. Do not edit. -->

Every key of `gateway.yaml`. The rule files have their own page: [rules.md](rules.md).

- A duration is `500ms`, `2s`, `1m`, `1h`, `1d`, or a number of seconds. A size is a number of bytes, `64KiB` or `1MiB`.
- A path to a file or folder is relative to the file it is written in.
- A name is made of `a-z`, `0-9`, `_` and `-`.
- Secrets are not written in the file. A key that ends in `_file` names a file that holds the secret, one that ends in
  `_env` an environment variable; write one of the two.
- `${NAME}` in a value is replaced by that environment variable: `listen: ${HOST}:${PORT}`. Within braces, YAML wants
  quotes around it. A variable that is not set is an error, there are no defaults, and `$${` is a `${` that stands for
  itself. It means nothing in keys, in rule files and on the command line, and the keys of secrets do not take it.
- A key that is not listed here is an error. `gateway check --config gateway.yaml` reports all errors at once.
- `gateway schema` prints the JSON Schema of this file, `gateway schema rules` that of rule files,
  `gateway schema rule_tests` that of rule tests.
- The flags `--upstream`, `--listen`, `--control`, `--store`, `--rules` and `--workers` override the file.
"""


_DEFAULTS = {
    ("listen", "port"): "`8080`, `8081` for `control.listen`",
    ("store", "url"): "`memory`",
    ("identity", "sources"): "`client_address`",
}
"""Defaults that need more words than their value."""


def settings_page() -> str:
    """docs/settings.md."""
    return "\n".join([_HEAD, *map(_section, sections_in(GATEWAY))])


def _section(section: Section[Any]) -> str:
    heading = f"## `{section.path}`" if section.path else "## The file"
    rows = [
        (f"`{key}`", reader.words, _default(section, key), section.meaning(key)) for key, reader in section.keys.items()
    ]
    return f"{heading}\n\n{section.summary}\n\n{_table(('Key', 'Type', 'Default', 'Meaning'), rows)}"


def _default(section: Section[Any], key: str) -> str:
    """The default of a key: that of the field it fills."""
    if key in section.required:
        return "required"
    reader = section.keys[key]
    found = (entry for kind in section.kinds if is_dataclass(kind) for entry in fields(kind) if entry.name == key)
    entry = next(found, None)
    value = None if entry is None or entry.default is MISSING else entry.default
    if (section.path, key) in _DEFAULTS:
        return _DEFAULTS[section.path, key]
    return "" if value is None or value == () or not isinstance(reader, Value) else f"`{reader.show(value)}`"


def metrics_table() -> str:
    """The metrics, for docs/operations.md."""
    rows = [
        (
            f"`{metric.name}`",
            metric.type.value,
            ", ".join(f"`{label}`" for label in (*metric.labels, *["worker"] * metric.per_worker)),
            metric.help,
        )
        for metric in METRICS
    ]
    return f"\n{_table(('Metric', 'Type', 'Labels', 'Meaning'), rows)}\n"


def spellings_table() -> str:
    """How a path is read, for docs/rules.md: the table in the docstring of `gateway.limits.path`."""
    rows = re.findall(r"^(\S.*?) +(normalise|reject) +(.*)$", path_policy or "", re.MULTILINE)
    rows = [tuple(cell.replace("``", "`") for cell in row) for row in rows]
    return f"\n{_table(('Spelling', 'Policy', 'Reason'), rows)}\n"


def with_table(path: Path, name: str, table: str) -> str:
    """A page as it is, with a table between its marks as it should be."""
    form = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
    text = path.read_text()
    assert form.search(text), f"{path.name} has lost its place for the {name}"
    return form.sub(lambda _: table, text)


def generated() -> dict[Path, str]:
    """What should stand in each file."""
    return {
        SETTINGS: settings_page(),
        OPERATIONS: with_table(OPERATIONS, "metrics", metrics_table()),
        ADMIN_API: page(document()),
        RULE_FILES: with_table(RULE_FILES, "spellings", spellings_table()),
        **{SCHEMAS / f"{kind}.schema.json": f"{schema_text(kind)}\n" for kind in FILES},
    }


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text)
