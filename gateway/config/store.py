"""Reads `store`: where buckets live."""

import re
from dataclasses import replace

from gateway.config.certificate import authorities, check_pair
from gateway.config.fields import Fields, table_of
from gateway.config.node import Node, quote
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, each, parsed, text
from gateway.config.secret import pick_password, secret_keys
from gateway.settings.store import Sentinel, Store, StoreTls
from gateway.settings.url import HostPort, RedisUrl

_PREFIX = re.compile(r"[A-Za-z0-9:._-]{1,64}", re.ASCII)
_SENTINEL_PORT = 26_379
_REDIS_PORT = 6_379
_ONLY_REDIS = ("password_file", "password_env", "sentinel", "cluster", "nodes", "tls")


def store_url(node: Node) -> RedisUrl | None:
    """``memory``, which is None, or the URL of Redis."""
    if text(node) == "memory":
        return None
    url: RedisUrl = parsed(RedisUrl.parse)(node)
    if url.password and node.yaml.start_mark:
        node.warn("the password stands here for all to read; write password_file or password_env")
    return url


def _prefix(node: Node) -> str:
    value = text(node)
    if _PREFIX.fullmatch(value) is None:
        raise node.refuse(f"{quote(value)} cannot start a key; write at most 64 letters, digits and :._-")
    return value


def _nodes(port: int) -> Reader:
    return each(parsed(lambda text: HostPort.parse(text, port)), least=1)


SENTINEL_KEYS: dict[str, Reader] = {
    **table_of(Sentinel, leave_out=("password",), nodes=_nodes(_SENTINEL_PORT)),
    **secret_keys("password"),
}


def _sentinel(node: Node) -> Sentinel:
    fields = Fields(node, SENTINEL_KEYS, required=("service", "nodes"))
    password = pick_password(fields)
    return fields.build(Sentinel, password=password)


def _tls(node: Node) -> StoreTls:
    fields = Fields(node, TLS_KEYS)
    if ("certificate" in fields) != ("key" in fields):
        raise node.refuse("'certificate' and 'key' go together")
    check_pair(fields)
    return fields.build(StoreTls)


TLS_KEYS = table_of(StoreTls, ca=authorities)
KEYS: dict[str, Reader] = {
    **table_of(
        Store,
        url=store_url,
        sentinel=_sentinel,
        nodes=each(parsed(lambda text: HostPort.parse(text, _REDIS_PORT))),
        tls=_tls,
        prefix=_prefix,
    ),
    **secret_keys("password"),
}


def store(node: Node) -> Store:
    """The section `store`."""
    fields = Fields(node, KEYS)
    password = pick_password(fields)
    if "url" in fields and "url" not in fields.values:
        raise InvalidError
    built = fields.build(Store)
    if built.url is None:
        for key in _ONLY_REDIS:
            if key in fields and fields.values.get(key, True):
                fields.at(key).refuse(f"{key!r} is about Redis, and the store's url is memory")
        return built
    _check(fields, built, built.url)
    if password is None:
        return built
    if built.url.password:
        fields.at("url").refuse("there is a password in the URL, and another one beside it; take the first away")
    return replace(built, url=replace(built.url, password=password))


def _check(fields: Fields, store: Store, url: RedisUrl) -> None:
    """Note what does not go together."""
    if store.sentinel and store.cluster:
        fields.at("cluster").refuse("a Redis Cluster has no Sentinels; write one of the two")
    if store.sentinel and url.host != store.sentinel.service:
        where = f"{url.scheme}://{store.sentinel.service}"
        fields.at("url").refuse(f"Sentinels know the address, so the URL names their service in its place: {where}")
    if store.cluster and (url.database or url.scheme == "unix"):
        fields.at("url").refuse("a Redis Cluster is reached over TCP, and has database 0 only")
    if store.nodes and not store.cluster:
        fields.at("nodes").refuse("more nodes are for a Redis Cluster; write cluster: true, or take them away")
    if "tls" in fields and not url.tls:
        fields.at("tls").refuse("certificates are for TLS, and the URL does not start with rediss://")
