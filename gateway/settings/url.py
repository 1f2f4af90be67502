"""Addresses of servers, as operators write them: `HostPort`, `Origin`, `RedisUrl`, `PostgresUrl`."""

import os
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Literal, Self
from urllib.parse import quote, unquote

from gateway.limits.address import LOOPBACK, belongs, parse_address

_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9_-]+)*\.?", re.ASCII)
_SOCKET_ELSEWHERE = re.compile(r"https?://unix:|https?\+unix:|unix/|/")
"""How other products spell a Unix socket."""

_NUMERIC = re.compile(r"[0-9.]+", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_HIGHEST_PORT = 65_535
_HTTP_PORT = 80
_REDIS_PORT = 6379
_MAX_SOCKET_PATH = 107
"""Bytes of a socket's path (unix(7)), without the one that ends it."""

_POSTGRES_PORT = 5432


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address to connect to or to listen on; an IPv6 address without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> Self:
        """Read ``127.0.0.1:8080``, ``[::1]:8080``, ``name:8080``.

        Args:
            text: Host and port.
            default_port: The port if `text` has none; None if it must have one.

        Raises:
            ValueError: `text` is none of these.
        """
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, ""
        if not host or (not colon and _PORT.fullmatch(text)):
            port = port or (text if not colon and text else "PORT")
            raise ValueError(f"the host is missing; write 127.0.0.1:{port}, or 0.0.0.0:{port} for every IPv4 interface")
        if not port and default_port is None:
            raise ValueError("the port is missing; write HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080")
        return cls(_host(host), _port(port) if port else default_port or 0)

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """One address of an upstream: ``http://host:port``, ``https://host:port`` or ``unix:/path``.

    Attributes:
        scheme: ``http`` on a socket, too.
        host: Without brackets; ``localhost`` for a socket, which is what the Host header says then.
        port: That of the scheme for a socket.
        socket: The path of a Unix socket; empty for TCP.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    socket: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``http://127.0.0.1:9000``, ``https://api.example`` or ``unix:/run/app.sock``.

        Raises:
            ValueError: it is none of these, or more than a scheme, a host and a port.
        """
        if text.startswith("unix:"):
            return cls("http", "localhost", _HTTP_PORT, parse_socket(text))
        if _SOCKET_ELSEWHERE.match(text):
            raise ValueError("an upstream on a Unix socket is unix:/PATH, as in unix:/run/app.sock")
        scheme, sign, rest = text.partition("://")
        if not sign or scheme not in {"http", "https"}:
            raise ValueError("an upstream is http://HOST:PORT, https://HOST:PORT or unix:/PATH")
        if "@" in rest:
            raise ValueError("an upstream's URL has no user and no password")
        if re.search(r"[/?#]", rest.removesuffix("/")):
            raise ValueError("an upstream's URL ends after the port; a request's path is forwarded as it came")
        address = HostPort.parse(rest.removesuffix("/"), _HTTP_PORT if scheme == "http" else 443)
        return cls("http" if scheme == "http" else "https", address.host, _not_zero(address.port))

    @property
    def authority(self) -> str:
        """``host:port`` as a Host header carries it: an IPv6 address in brackets, without the scheme's default port."""
        host = bracketed(self.host)
        return host if self.port == {"http": _HTTP_PORT, "https": 443}[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where Redis is, and how to log in. As text it is a URL without the password.

    Attributes:
        scheme: ``rediss`` is TLS; ``unix`` a socket.
        host: The address or name; empty for a socket.
        port: The port; 0 for a socket.
        socket: The path of the socket; empty otherwise.
        username: The ACL user; None for Redis' default user.
        password: Never in repr or text.
        database: Its number.
    """

    scheme: Literal["redis", "rediss", "unix"]
    host: str = ""
    port: int = 0
    socket: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``redis://user@host:6379/0``, ``rediss://...``, or ``unix:///run/redis.sock``.

        No error message quotes `text`.

        Raises:
            ValueError: `text` is none of these.
        """
        scheme, sign, rest = text.partition("://")
        if not sign or scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("a store is memory, redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH")
        if "?" in rest or "#" in rest:
            raise ValueError("options are not written in the URL; they are keys of `store`")
        credentials, _, rest = rest.rpartition("@")
        user, _, password = credentials.partition(":")
        if scheme == "unix":
            if not rest.startswith("/") or len(rest) == 1:
                raise ValueError("the path of a socket starts with /, as in unix:///run/redis.sock")
            return cls("unix", socket=unquote(rest), username=unquote(user) or None, password=unquote(password) or None)
        where, _, database = rest.partition("/")
        if database and not re.fullmatch(r"[0-9]{1,5}", database, re.ASCII):
            raise ValueError("after the port comes the number of a database or nothing, as in redis://127.0.0.1:6379/0")
        address = HostPort.parse(where, _REDIS_PORT)
        return cls(
            "redis" if scheme == "redis" else "rediss",
            address.host,
            _not_zero(address.port),
            username=unquote(user) or None,
            password=unquote(password) or None,
            database=int(database or 0),
        )

    @property
    def tls(self) -> bool:
        """Whether to speak TLS."""
        return self.scheme == "rediss"

    def __str__(self) -> str:
        user = f"{self.username}@" if self.username else ""
        if self.scheme == "unix":
            return f"unix://{user}{self.socket}"
        return f"{self.scheme}://{user}{bracketed(self.host)}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where PostgreSQL is, and how to log in. As text it is a URL without the password.

    Attributes:
        host: The address or name; or the folder of a Unix socket, which starts with a slash.
        port: The port; also part of the name of a Unix socket.
        database: Its name.
        username: The role.
        password: Never in repr or text.
    """

    host: str
    port: int
    database: str
    username: str
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``postgresql://role@host:5432/database``; ``%2Frun%2Fpostgresql`` for the host is a socket's folder.

        No error message quotes `text`.

        Raises:
            ValueError: it is neither.
        """
        scheme, sign, rest = text.partition("://")
        if not sign or scheme not in {"postgresql", "postgres"}:
            raise ValueError("PostgreSQL is at postgresql://ROLE@HOST:PORT/DATABASE")
        if "?" in rest or "#" in rest:
            raise ValueError("options are not written in the URL; they are keys next to it")
        credentials, _, rest = rest.rpartition("@")
        user, _, password = credentials.partition(":")
        where, _, database = rest.partition("/")
        if not user or not database or "/" in database:
            raise ValueError("the URL needs a role and a database, as in postgresql://gateway@db.internal/analytics")
        if where.lower().startswith("%2f"):
            folder, _, port = where.partition(":")
            host, number = unquote(folder), _not_zero(_port(port)) if port else _POSTGRES_PORT
        else:
            address = HostPort.parse(where, _POSTGRES_PORT)
            host, number = address.host, _not_zero(address.port)
        return cls(host, number, unquote(database), unquote(user), unquote(password) or None)

    @property
    def is_socket(self) -> bool:
        """Whether it is a Unix socket."""
        return self.host.startswith("/")

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return self.is_socket or self.host == "localhost" or belongs(parse_address(self.host), LOOPBACK)

    def __str__(self) -> str:
        host = quote(self.host, safe="") if self.is_socket else bracketed(self.host)
        return f"postgresql://{quote(self.username)}@{host}:{self.port}/{quote(self.database)}"


def parse_socket(text: str) -> str:
    """The path of a Unix socket: ``unix:/run/app.sock``, or the same with ``unix://``.

    Raises:
        ValueError: it is no path that a socket can have.
    """
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = f"/{path.lstrip('/')}" if path.startswith("///") else ""
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError("a Unix socket is unix:/PATH, and the path starts with /, as in unix:/run/app.sock")
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise ValueError(f"the path of a Unix socket has at most {_MAX_SOCKET_PATH} bytes")
    return path


def bracketed(host: str) -> str:
    """A host as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def parse_host(text: str) -> str:
    """A name, without the dot at its end, or an address, as TLS has it: an IPv6 address without brackets.

    Raises:
        ValueError: it is neither, or has a port.
    """
    try:
        return str(ip_address(text))
    except ValueError:
        return _host(text).removesuffix(".")


def _host(text: str) -> str:
    if text.startswith("[") and text.endswith("]"):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError("the brackets hold no IPv6 address; write it as in [::1]:8080") from None
    if ":" in text:
        raise ValueError("an IPv6 address is written in brackets, as in [::1]:8080")
    if _NUMERIC.fullmatch(text):
        try:
            return str(ip_address(text))
        except ValueError:
            raise ValueError("the host is not a valid IPv4 address, such as 127.0.0.1") from None
    if _HOST.fullmatch(text) is None:
        raise ValueError("the host is neither an address nor a name")
    return text


def _port(text: str) -> int:
    if _PORT.fullmatch(text) is None or int(text) > _HIGHEST_PORT:
        raise ValueError(f"a port is a number up to {_HIGHEST_PORT}")
    return int(text)


def _not_zero(port: int) -> int:
    if port == 0:
        raise ValueError("nothing can connect to port 0")
    return port
