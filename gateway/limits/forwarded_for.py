"""The client's address behind proxies: which entry of X-Forwarded-For to believe.

* A peer that is not a trusted proxy is the client, whatever the header says.
* From a trusted peer, the header is read from the right, where the nearest proxy wrote. Each address that is itself a
  trusted proxy is skipped; the first that is not is the client. If all are trusted, the leftmost is the client.
* If an entry on the way is not an address, nothing further left can be believed: the client is unknown, and the peer
  stands for it. The same holds if there are more trusted proxies than any real chain has.
"""

from collections.abc import Sequence

from gateway.limits.address import Address, Network, Unix, belongs, parse_address

_MAX_HOPS = 32


def find_client(
    peer: Address | Unix | None, forwarded_for: str, trusted: Sequence[Network | Unix]
) -> Address | Unix | None:
    """The client's address, by the rules above; None if the header does not say it.

    Args:
        peer: The other end of the connection, which is trusted.
        forwarded_for: All X-Forwarded-For headers, joined by commas; empty if there are none.
        trusted: Networks of the proxies in front of the gateway.
    """
    if not forwarded_for:
        return peer
    client = peer
    for hops, entry in enumerate(reversed(forwarded_for.rsplit(",", _MAX_HOPS))):
        address = parse_address(entry) if hops < _MAX_HOPS else None
        if address is None:
            return None
        client = address
        if not belongs(address, trusted):
            break
    return client
