"""The composition root: what one worker is made of, and how long each part lives."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from socket import socket

from aiohttp import web
from aiohttp.http import HttpRequestParser

from gateway.config.settings import Settings
from gateway.control.api import control_app
from gateway.limits.rules import RuleBook, Rules
from gateway.listeners import tls_context
from gateway.proxy.client import Server
from gateway.proxy.forward import Forwarder
from gateway.proxy.handler import Proxy
from gateway.proxy.request import RequestReader

_LINGER = 2.0
"""Seconds in which a client may finish sending a body that nobody wants, so that it gets to read the answer."""


class UnsafeParserError(RuntimeError):
    """aiohttp came without its C parser; the one in Python lets malformed requests through."""


def require_c_parser() -> None:
    """Refuse to work without aiohttp's C parser.

    Raises:
        UnsafeParserError: it is missing or turned off.
    """
    if HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise UnsafeParserError(
            "aiohttp runs without its C parser, and the one in Python accepts requests that can be smuggled; "
            "unset AIOHTTP_NO_EXTENSIONS and install aiohttp from a wheel"
        )
