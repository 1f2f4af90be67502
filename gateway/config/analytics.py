"""Reads `analytics`."""

from dataclasses import replace

from gateway.config.diagnostic import InvalidError
from gateway.config.entries import Entries
from gateway.config.location import authorities, path
from gateway.config.node import Node
from gateway.config.number import whole
from gateway.config.reader import reads, string
from gateway.config.scalar import parsed
from gateway.config.secret import Secret
from gateway.config.section import Section, keys_of
from gateway.settings.analytics import Analytics, Postgres
from gateway.settings.url import PostgresUrl

_MAX_CALLERS = 1_000
_PASSWORD = Secret("password", "the role's password")

_url = parsed(PostgresUrl.parse, "URL", string(r"^postgres(ql)?://[^/?#@\s]+@[^/?#@\s]+/[^/?#\s]+$"))


@reads(_url.words, _url.schema)
def postgres_url(node: Node) -> PostgresUrl:
    """The URL of PostgreSQL."""
    url = _url(node)
    if url.password:
        node.warn("the password is readable here; write password_file or password_env instead")
    return url


def _postgres(entries: Entries) -> Postgres:
    password = _PASSWORD.pick_text(entries)
    postgres = entries.build(Postgres)
    if password is not None and postgres.url.password:
        entries.at("url").refuse("a password is given both in the URL and by a key; remove the one in the URL")
    if postgres.url.is_socket and ("ca" in entries or entries.values.get("tls")):
        entries.at("ca" if "ca" in entries else "tls").refuse("a Unix socket has no TLS")
    elif "ca" in entries and not postgres.tls:
        entries.at("ca").refuse("certificates are for TLS, and 'tls' is false")
    elif not postgres.tls and not postgres.url.is_local:
        entries.at("tls").warn("without TLS, anyone between the gateway and PostgreSQL can read and change everything")
    return postgres if password is None else replace(postgres, url=replace(postgres.url, password=password))


POSTGRES = Section(
    "analytics.postgres",
    {**keys_of(Postgres, url=postgres_url, ca=authorities), **_PASSWORD.keys},
    (Postgres,),
    _postgres,
    required=("url",),
    meanings=_PASSWORD.meanings,
    exclusive=(_PASSWORD.pair,),
)


def _analytics(entries: Entries) -> Analytics:
    if entries.one_of("folder", "postgres") is None:
        if "folder" in entries:
            raise InvalidError
        given = next((key for key in ANALYTICS.keys if key in entries), None)
        if given is not None:
            entries.at(given).warn("nothing is kept without 'folder' or 'postgres'")
    return entries.build(Analytics)


ANALYTICS = Section(
    "analytics",
    keys_of(Analytics, folder=path, postgres=POSTGRES, top_callers=whole(1, _MAX_CALLERS)),
    (Analytics,),
    _analytics,
    exclusive=(("folder", "postgres"),),
)
