"""Reads `analytics`: where decisions are kept, counted by the minute."""

from dataclasses import replace

from gateway.config.certificate import authorities
from gateway.config.fields import Fields, table_of
from gateway.config.node import Node
from gateway.config.problem import InvalidError
from gateway.config.scalar import Reader, path, text, whole
from gateway.config.secret import pick_password, secret_keys
from gateway.settings.analytics import Analytics, Postgres
from gateway.settings.url import PostgresUrl

_MOST_CALLERS = 1_000


def postgres_url(node: Node) -> PostgresUrl:
    """The URL of PostgreSQL."""
    try:
        url = PostgresUrl.parse(text(node))
    except ValueError as error:
        raise node.refuse(str(error)) from None
    if url.password:
        node.warn("the password stands here for all to read; write password_file or password_env")
    return url


POSTGRES_KEYS: dict[str, Reader] = {**table_of(Postgres, url=postgres_url, ca=authorities), **secret_keys("password")}


def _postgres(node: Node) -> Postgres:
    fields = Fields(node, POSTGRES_KEYS, required=("url",))
    password = pick_password(fields)
    built = fields.build(Postgres)
    if password is not None and built.url.password:
        fields.at("url").refuse("there is a password in the URL, and another one beside it; take the first away")
    if built.url.is_socket and ("ca" in fields or fields.values.get("tls")):
        fields.at("ca" if "ca" in fields else "tls").refuse("a Unix socket has no TLS")
    elif "ca" in fields and not built.tls:
        fields.at("ca").refuse("certificates are for TLS, and 'tls' is false")
    elif not built.tls and not built.url.is_local:
        fields.at("tls").warn("without TLS, whoever is on the way to PostgreSQL can read along and answer for it")
    return replace(built, url=replace(built.url, password=password)) if password is not None else built


KEYS = table_of(Analytics, folder=path, postgres=_postgres, top_callers=whole(1, _MOST_CALLERS))


def analytics(node: Node) -> Analytics:
    """The section `analytics`."""
    fields = Fields(node, KEYS)
    if fields.one_of("folder", "postgres") is None:
        others = [key for key in KEYS if key in fields]
        if others and "folder" not in fields and "postgres" not in fields:
            fields.at(others[0]).warn("nothing is kept without 'folder' or 'postgres'")
        if "folder" in fields:
            raise InvalidError
    return fields.build(Analytics)
