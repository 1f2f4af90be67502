"""`verify_chain`: whether an audit log is whole: each line holds the hash of the one before (`entry.py`)."""

from collections.abc import Iterable, Sequence

from gateway.control.audit.entry import ZEROS, BrokenChainError, Link, read_line


def verify_chain(lines: Iterable[bytes], keys: Sequence[bytes] = ()) -> Link | None:
    """Verify a chain. Returns its end; None if there are no lines.

    A chain that begins later than with line 1 is taken for one whose oldest files were archived.

    Args:
        lines: All its lines.
        keys: The keys with which it may have been written. Without keys, HMACs are not verified.

    Raises:
        BrokenChainError: a line was changed, added, moved or removed.
    """
    end: Link | None = None
    for number, line in enumerate(lines, 1):
        place = f"line {number}" if end is None else f"the line after sequence {end.sequence}"
        try:
            record, link = read_line(line, keys)
        except BrokenChainError as error:
            raise BrokenChainError(f"{place}: {error}") from None
        before = end or Link(link.log, link.sequence - 1, record["previous"] if link.sequence > 1 else ZEROS)
        if link.log != before.log:
            raise BrokenChainError(f"{place}: the line belongs to another log")
        if link.sequence != before.sequence + 1:
            raise BrokenChainError(
                f"{place}: its sequence is {link.sequence}; lines are missing, added or out of order"
            )
        if record["previous"] != before.hash:
            raise BrokenChainError(f"{place}: the hash of the line before does not match")
        if before.is_keyed and not link.is_keyed:
            raise BrokenChainError(f"{place}: it was written without a key, but the line before with one")
        end = link
    return end
