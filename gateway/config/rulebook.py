"""Reads the rule files: all files of a folder are one set of rules."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from gateway.config.block import BLOCK
from gateway.config.diagnostic import Diagnostic, Findings, InvalidError
from gateway.config.endpoint import ENDPOINT, Endpoints
from gateway.config.entries import Entries
from gateway.config.exemption import EXEMPT, unite
from gateway.config.limit import LIMIT, Limits
from gateway.config.node import Node
from gateway.config.per import Sources, check_named
from gateway.config.priority import TIERS, tier_priorities
from gateway.config.reader import reads
from gateway.config.section import Section
from gateway.config.source import Source
from gateway.config.way_round import warn_of_ways_round
from gateway.limits.override import Block
from gateway.limits.path import PathPolicy
from gateway.limits.router import Router
from gateway.limits.rules import Rules

RULES = Section(
    "",
    {
        "endpoints": reads("list of sections", {"type": "array", "items": ENDPOINT})(Node.items),
        "limits": reads("list of sections", {"type": "array", "items": LIMIT})(Node.items),
        "tiers": TIERS,
        "exempt": EXEMPT,
        "block": BLOCK,
    },
    (),
    lambda entries: entries,
    about="Endpoints and limits.",
    meanings={
        "endpoints": "Named sets of requests.",
        "limits": "How much is allowed.",
        "tiers": "How much requests of callers in a tier matter, by the tier's name.",
        "exempt": "Callers that no limit in any file counts.",
        "block": "Callers whose every request is refused.",
    },
)
_SUFFIXES = (".yaml", ".yml")


def read_rules(
    path: Path, paths: PathPolicy, upstreams: Collection[str] | None, sources: Sources | None, findings: Findings
) -> Rules:
    """Read a rule file, or all files of a folder that end in .yaml or .yml, in the order of their names.

    Args:
        path: The file or folder.
        paths: How a request's path is read.
        upstreams: Names of the upstreams that endpoints may name; None when they are not known.
        sources: The attributes that each identity source may find; None when they are not known.
        findings: Where problems are noted. If there are any, the rules returned are empty.
    """
    revision = sha256()
    files: list[Entries] = []
    for file in yaml_files(path, findings):
        source = Source.of(file, findings)
        with suppress(InvalidError):
            files.append(RULES(Node(source, source.compose(may_be_blank=True))))
        revision.update(source.content)
    endpoints = Endpoints(_items(files, "endpoints"), upstreams)
    everywhere = unite(file.values["exempt"] for file in files if "exempt" in file.values)
    blocked = [file.values["block"] for file in files if "block" in file.values]
    block = Block(
        frozenset[str]().union(*(each.users for each in blocked)),
        tuple(dict.fromkeys(network for each in blocked for network in each.networks)),
        frozenset[tuple[str, str]]().union(*(each.attributes for each in blocked)),
    )
    for entries in files:
        for key in ("exempt", "block"):
            if key in entries.values:
                check_named(entries.at(key), entries.values[key].attributes, sources)
        both = len(everywhere.users & entries.values.get("block", Block()).users)
        if both:
            entries.at("block").warn(f"{both} of these users are also exempt; a block comes first, so they are refused")
    limits = Limits(_items(files, "limits"), endpoints.known, everywhere, sources)
    priorities = tier_priorities(files)
    limits.warn_of_unpayable(endpoints.known.values(), priorities)
    limits.warn_of_skipped_callers(endpoints.known)
    limits.warn_of_unused_reserves(endpoints.known.values(), priorities)
    router = Router(endpoints.known.values(), case_sensitive=paths.case_sensitive)
    endpoints.note_clashes(router.clashes)
    warn_of_ways_round(endpoints, limits.known.values(), router)
    if findings.problems:
        return Rules(paths=paths)
    return Rules(
        endpoints.known.values(),
        limits.known.values(),
        paths=paths,
        revision=revision.hexdigest()[:12],
        block=block,
        priorities=priorities,
    )


def _items(files: Iterable[Entries], key: str) -> list[Node]:
    return [item for file in files for item in file.values.get(key, ())]


def yaml_files(path: Path, findings: Findings) -> list[Path]:
    """A file, or all files of a folder that end in .yaml or .yml, in the order of their names."""
    try:
        if not path.is_dir():
            return [path]
        found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and not file.name.startswith("."))
    except OSError as error:
        findings.problems.append(Diagnostic(str(path), 0, 0, "", f"cannot be read: {error.strerror}"))
        return []
    if not found:
        findings.problems.append(Diagnostic(str(path), 0, 0, "", "no file in this folder ends in .yaml"))
    return found
