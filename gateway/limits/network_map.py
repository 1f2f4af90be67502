"""`NetworkMap`: values by network, of which the longest prefix that covers an address comes first."""

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from gateway.limits.address import Address, Network, Unix, as_ipv4

T = TypeVar("T")


class NetworkMap(Generic[T]):
    """Values by network. A look-up costs one step for each length of prefix that occurs.

    Args:
        entries: Values by networks of clients, as `parse_clients` reads them.
    """

    __slots__ = ("_levels",)

    def __init__(self, entries: Mapping[Network, T]) -> None:
        levels: dict[int, dict[int, dict[int, T]]] = {4: {}, 6: {}}
        for network, value in entries.items():
            host_bits = network.max_prefixlen - network.prefixlen
            levels[network.version].setdefault(host_bits, {})[int(network.network_address) >> host_bits] = value
        self._levels = {version: sorted(tables.items()) for version, tables in levels.items()}

    def matching(self, address: Address | Unix | None) -> Iterator[T]:
        """The values of all networks that cover an address, longest prefix first.

        A translated IPv4 address (64:ff9b::/96) is covered by networks of either kind.
        """
        if address is None or isinstance(address, str):
            return
        ipv4 = as_ipv4(address)
        for form in (address,) if ipv4 is None or ipv4 == address else (ipv4, address):
            number = int(form)
            for host_bits, table in self._levels[form.version]:
                value = table.get(number >> host_bits)
                if value is not None:
                    yield value
