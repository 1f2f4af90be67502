"""Reads `listen` and `control`: where the gateway listens."""

from dataclasses import replace

from gateway.config.certificate import check_pair
from gateway.config.fields import Fields, section, table_of
from gateway.config.node import Node
from gateway.config.scalar import Reader, each, network, parsed, path, text, whole
from gateway.config.token import admin_policy
from gateway.settings.control import Control
from gateway.settings.listener import Listener, Tls
from gateway.settings.url import HostPort


def _tls(node: Node) -> Tls:
    fields = Fields(node, table_of(Tls), required=("certificate", "key"))
    check_pair(fields)
    return fields.build(Tls)


KEYS = table_of(Listener, host=text, port=whole(0, 65_535), tls=_tls)


def listener(standard: Listener) -> Reader:
    """``HOST:PORT``, or a mapping; what is not said is as in `standard`."""

    def read(node: Node) -> Listener:
        if not node.is_scalar:
            return replace(standard, **Fields(node, KEYS).values)
        address = parsed(HostPort.parse)(node)
        return replace(standard, host=address.host, port=address.port)

    return read


CONTROL_KEYS = table_of(
    Control, listen=listener(Control().listen), admin=admin_policy, check_from=each(network), state=path
)
control = section(Control, CONTROL_KEYS)
