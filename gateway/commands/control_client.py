"""`ControlClient`: asks a running gateway's control listener, with a token that is given or made for the occasion."""

import argparse
import http.client
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from gateway.auth.grant import Scope
from gateway.commands.token import issue_token
from gateway.config.loader import load_settings
from gateway.config.operator_error import OperatorError
from gateway.limits.holder import ADDRESS, USER
from gateway.settings.control import Control
from gateway.settings.listener import Listener
from gateway.settings.url import Origin

DEFAULT_CONFIG = Path("config/gateway.yaml")
_TOKEN_VARIABLE = "GATEWAY_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT = 30.0
"""Seconds that the gateway may take; the rest of a fleet has 15 to reload."""

_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)


class ControlClientError(OperatorError):
    """The gateway could not be asked, or has refused. The message says which.

    Attributes:
        document: What it has answered; empty if it could not be asked.
    """

    def __init__(self, message: str, document: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.document = document or {}


class Response(NamedTuple):
    """What the gateway has answered.

    Attributes:
        status: The HTTP status.
        text: The body.
    """

    status: int
    text: str

    def document(self) -> Any:
        """The body, which is JSON.

        Raises:
            ControlClientError: it is not; something else listens there.
        """
        try:
            return json.loads(self.text) if self.text else {}
        except ValueError:
            raise ControlClientError("the answer is not JSON; is this the gateway's control listener?") from None


def add_client_flags(command: argparse.ArgumentParser, credential: str = "--token-file") -> None:
    """Add the flags that say which gateway is asked, and with which token.

    Args:
        command: Their command.
        credential: The flag for the operator's token.
    """
    command.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=DEFAULT_CONFIG,
        help="the gateway's settings (default %(default)s)",
    )
    command.add_argument(
        "--url", metavar="URL", type=_origin, help="the control listener (default: control.listen in the settings)"
    )
    command.add_argument(
        "--ca", metavar="FILE", type=Path, help="certificates to trust (default: the control listener's own)"
    )
    command.add_argument(
        credential, dest="token_file", metavar="FILE", type=Path,
        help=f"a token (default: {_TOKEN_VARIABLE} in the environment, else one is made with --key)",
    )  # fmt: skip
    command.add_argument(
        "--key", metavar="FILE", type=Path,
        help="the private key (default: secrets/admin.key; for HS256, the secret from the settings)",
    )  # fmt: skip
    command.add_argument("--kid", help="id of the gateway's key to sign for (default: the one that matches --key)")
    command.add_argument(
        "--subject", help="who asks, for the audit log, if a token is made (default: the name of this user)"
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def _origin(text: str) -> Origin:
    try:
        return Origin.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not http://HOST:PORT or https://HOST:PORT") from None


TARGET = "a user id, address/ and an IP address or network, or an attribute as in org/acme"


def target_path(target: str) -> str:
    """A target's part of a path, see `TARGET`.

    An id with a slash is written ``user/a/b``, a value with one ``org/a%2Fb``.

    Raises:
        ControlClientError: it is empty.
    """
    if not target:
        raise ControlClientError(f"the target is empty; write {TARGET}")
    kind, slash, name = target.partition("/")
    if slash and kind in {ADDRESS, USER}:
        return f"{ADDRESS}/{quote(name, safe='')}" if kind == ADDRESS else quote(name, safe="")
    return "/".join(quote(unquote(part), safe="") for part in target.split("/")) if slash else quote(target, safe="")


class ControlClient:
    """Asks one gateway.

    Args:
        options: The flags of `add_client_flags`.
        scopes: What a token that is made permits: no more than the command needs.

    Raises:
        ControlClientError: it is not known where to ask, or the token cannot be read.
        ConfigError: the settings are needed and cannot be used.
        SigningError: no token can be made.
    """

    def __init__(self, options: argparse.Namespace, *scopes: Scope) -> None:
        given = _given_token(options.token_file)
        control = None if given and options.url else load_settings(options.config).control
        listener = None if control is None else _listener_of(control)
        self._origin: Origin = options.url or _origin_of(listener)
        self._unix = None if options.url or listener is None else listener.unix
        self._tls = _tls(self._origin, options.ca, listener)
        self._token = given or issue_token(
            options.config, _require(control).admin, options.key, options.kid,
            subject=options.subject or getuser(), scopes=scopes, now=int(time.time()),
        )  # fmt: skip

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The document that the gateway answers with.

        Raises:
            ControlClientError: it cannot be reached, or has refused.
        """
        return accepted(self.get(method, path, body)).document()

    def get(self, method: str, path: str, body: Any = None) -> Response:
        """The answer, whatever its status.

        Raises:
            ControlClientError: the gateway cannot be reached.
        """
        if body is None:
            return self.send(method, path, None, {})
        return self.send(method, path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], timeout: float = _TIMEOUT
    ) -> Response:
        """The answer to any body, whatever its status.

        Args:
            method: The method.
            path: The path, with the query.
            body: The body; None for none.
            headers: More headers.
            timeout: Seconds that the gateway may take.

        Raises:
            ControlClientError: the gateway cannot be reached.
        """
        origin = self._origin
        connection: http.client.HTTPConnection
        if self._unix:
            connection = _UnixConnection(self._unix, timeout)
        elif self._tls is None:
            connection = http.client.HTTPConnection(origin.host, origin.port, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(origin.host, origin.port, timeout=timeout, context=self._tls)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **headers})
            answer = connection.getresponse()
            return Response(answer.status, answer.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException) as error:
            raise ControlClientError(
                f"no response from the control listener at {self._unix or origin}: {error}"
            ) from error
        finally:
            connection.close()


def accepted(response: Response) -> Response:
    """An answer that is no refusal.

    Raises:
        ControlClientError: it is one.
    """
    if response.status < http.client.BAD_REQUEST:
        return response
    document = response.document()
    problem = document if isinstance(document, dict) else {}
    raise ControlClientError(_refusal(response.status, problem), problem)


def _require(control: Control | None) -> Control:
    assert control is not None  # noqa: S101 - the settings are read unless both URL and token are given
    return control


def _given_token(path: Path | None) -> str:
    try:
        token = path.read_text().strip() if path is not None else os.environ.get(_TOKEN_VARIABLE, "").strip()
    except OSError as error:
        raise ControlClientError(f"the token file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ControlClientError(f"the token file {path} does not hold a token") from None
    if path is not None and not token:
        raise ControlClientError(f"the token file {path} is empty")
    if not token.isprintable() or not token.isascii():
        raise ControlClientError(f"{f'the token file {path}' if path else _TOKEN_VARIABLE} does not hold a token")
    return token


class _UnixConnection(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _listener_of(control: Control) -> Listener:
    """The one to ask: the first address, else the first Unix socket without TLS."""
    addresses = [each for each in control.listen if each.unix is None]
    return next(iter([*addresses, *(each for each in control.listen if each.tls is None), *control.listen]))


def _origin_of(listen: Listener | None) -> Origin:
    assert listen is not None  # noqa: S101 - the settings are read unless a URL is given
    if listen.unix:
        if listen.tls:
            raise ControlClientError("control.listen has only Unix sockets with TLS; add one without")
        return Origin("http", "localhost", 80)
    if not listen.port:
        raise ControlClientError("control.listen has port 0, which is any free port; say which with --url")
    return Origin("https" if listen.tls else "http", _EVERY_INTERFACE.get(listen.host, listen.host), listen.port)


def _tls(origin: Origin, ca: Path | None, listener: Listener | None) -> ssl.SSLContext | None:
    """What verifies the gateway. Without `ca`, only the very certificate in the settings is trusted, by any name."""
    if origin.scheme == "http":
        return None
    own = listener.tls if listener is not None else None
    try:
        if ca is not None or own is None:
            return ssl.create_default_context(cafile=ca)
        found = _CERTIFICATE.search(own.certificate.read_text())
        context = ssl.create_default_context(cadata=found[0] if found else "")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ControlClientError(f"{ca or (own and own.certificate)} cannot be used: {error}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _refusal(status: int, problem: Mapping[str, Any]) -> str:
    lines = [f"{problem.get('title', 'refused')} ({status})"]
    if problem.get("detail"):
        lines[0] += f": {problem['detail']}"
    for name in ("errors", "problems"):
        lines += [f"  {_error(each)}" for each in problem.get(name, ())]
    return "\n".join(lines)


def _error(each: Any) -> str:
    return ": ".join(map(str, each.values())) if isinstance(each, dict) else str(each)
