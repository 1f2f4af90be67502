"""Readers of files and folders. A path is relative to the file that it is written in."""

from pathlib import Path

from gateway.config.certificates import UnusableFileError, check_authorities, check_certificate
from gateway.config.entries import Entries
from gateway.config.node import Node
from gateway.config.reader import reads, scalar
from gateway.config.scalar import text


@reads("file", scalar())
def path(node: Node) -> Path:
    """A path, whether anything is there or not."""
    return node.source.folder / text(node)


@reads("file or folder", scalar())
def existing(node: Node) -> Path:
    """A path to an existing file or folder."""
    found = path(node)
    try:
        found.stat()
    except OSError as error:
        raise node.refuse(f"{found}: {error.strerror}") from None
    return found


@reads("file", scalar())
def file(node: Node) -> Path:
    """A path to a file that can be read."""
    found = path(node)
    try:
        with found.open("rb"):
            return found
    except OSError as error:
        raise node.refuse(f"{found}: {error.strerror or error}") from None


@reads("file", scalar())
def authorities(node: Node) -> Path:
    """A file of certificates to trust, in PEM."""
    found = file(node)
    try:
        check_authorities(found)
    except UnusableFileError as error:
        raise node.refuse(error.why) from None
    return found


def check_pair(entries: Entries) -> None:
    """Note when ``certificate`` and ``key`` do not work together. One that is missing has been noted already."""
    certificate, key = entries.values.get("certificate"), entries.values.get("key")
    if certificate is None or key is None:
        return
    try:
        check_certificate(certificate, key)
    except UnusableFileError as error:
        entries.at(error.key).refuse(error.why)
