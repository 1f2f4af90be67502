"""Reads `store`."""

from dataclasses import replace

from gateway.config.address import server
from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import authorities, check_pair
from gateway.config.node import Node
from gateway.config.reader import reads, string
from gateway.config.scalar import each, matching, parsed, text
from gateway.config.secret import Secret
from gateway.config.section import Section, keys_of
from gateway.settings.store import Sentinel, Store, StoreTls
from gateway.settings.url import RedisUrl

_SENTINEL_PORT = 26_379
_REDIS_PORT = 6_379
_ONLY_REDIS = ("password_file", "password_env", "sentinel", "cluster", "nodes", "tls")
_PASSWORD = Secret("password", "Redis' password")
_SENTINEL_PASSWORD = Secret("password", "their password, which is not the store's")
_URL = string(r"^(memory|rediss?://[^?#\s]*[^?#@\s]|unix://([^?#@/]*@)?/[^?#]+)$")

_redis_url = parsed(RedisUrl.parse, "URL", _URL)


@reads("`memory` or URL", _URL)
def store_url(node: Node) -> RedisUrl | None:
    """``memory``, which is None, or the URL of Redis."""
    if text(node) == "memory":
        return None
    url = _redis_url(node)
    if url.password and node.yaml.start_mark:
        node.warn("the password is readable here; write password_file or password_env instead")
    return url


def _sentinel(entries: Entries) -> Sentinel:
    password = _SENTINEL_PASSWORD.pick_text(entries)
    return entries.build(Sentinel, password=password)


SENTINEL = Section(
    "store.sentinel",
    {
        **keys_of(Sentinel, leave_out=("password",), nodes=each(server(_SENTINEL_PORT), least=1)),
        **_SENTINEL_PASSWORD.keys,
    },
    (Sentinel,),
    _sentinel,
    required=("service", "nodes"),
    meanings=_SENTINEL_PASSWORD.meanings,
    exclusive=(_SENTINEL_PASSWORD.pair,),
)


def _tls(entries: Entries) -> StoreTls:
    if ("certificate" in entries) != ("key" in entries):
        raise entries.node.refuse("'certificate' and 'key' need each other; write both")
    check_pair(entries)
    return entries.build(StoreTls)


TLS = Section("store.tls", keys_of(StoreTls, ca=authorities), (StoreTls,), _tls)


def _store(entries: Entries) -> Store:
    password = _PASSWORD.pick_text(entries)
    if "url" in entries and "url" not in entries.values:
        raise InvalidError
    store = entries.build(Store)
    if store.url is None:
        for key in _ONLY_REDIS:
            if key in entries and entries.values.get(key, True):
                entries.at(key).refuse(f"{key!r} is for Redis, and the store's url is memory")
        return store
    _check(entries, store, store.url)
    if password is None:
        return store
    if store.url.password:
        entries.at("url").refuse("a password is given both in the URL and by a key; remove the one in the URL")
    return replace(store, url=replace(store.url, password=password))


def _check(entries: Entries, store: Store, url: RedisUrl) -> None:
    """Note what contradicts itself."""
    if store.sentinel and store.cluster:
        entries.at("cluster").refuse("a Redis Cluster has no Sentinels; write one of the two")
    if store.sentinel and url.host != store.sentinel.service:
        where = f"{url.scheme}://{store.sentinel.service}"
        entries.at("url").refuse(f"with Sentinels, the URL holds the name of their service instead of a host: {where}")
    if store.cluster and (url.database or url.scheme == "unix"):
        entries.at("url").refuse("a Redis Cluster is reached over TCP, and has database 0 only")
    if store.nodes and not store.cluster:
        entries.at("nodes").refuse("more nodes are for a Redis Cluster; write cluster: true, or remove them")
    if "tls" in entries and not url.tls:
        entries.at("tls").refuse("certificates are for TLS, and the URL does not start with rediss://")


STORE = Section(
    "store",
    {
        **keys_of(
            Store,
            url=store_url,
            sentinel=SENTINEL,
            nodes=each(server(_REDIS_PORT)),
            tls=TLS,
            prefix=matching(
                "[A-Za-z0-9:._-]{1,64}", "text", "cannot start a key; write at most 64 letters, digits and :._-"
            ),
        ),
        **_PASSWORD.keys,
    },
    (Store,),
    _store,
    meanings={
        "url": "`memory`: in this process, for one worker, lost at a restart. Or where Redis is: "
        "`redis://USER@HOST:PORT/DATABASE`, `rediss://` for TLS, `unix:///run/redis.sock`. With Sentinels, the host is "
        "the service's name.",
        **_PASSWORD.meanings,
    },
    exclusive=(_PASSWORD.pair,),
)
