"""`Control`: the control plane, and who may change things through it."""

from dataclasses import dataclass, field
from pathlib import Path

from gateway.limits.address import Network, Unix
from gateway.settings.listener import Listener
from gateway.settings.size import Bytes
from gateway.settings.token_key import TokenPolicy


@dataclass(frozen=True, slots=True)
class AdminPolicy:
    """Which tokens give the right to change things at run time.

    Attributes:
        tokens: Their keys, audience and issuer; all three are required here.
        max_lifetime: The longest time accepted between a token's `iat` and its `exp`.
    """

    tokens: TokenPolicy
    max_lifetime: float = 3600.0


@dataclass(frozen=True, slots=True)
class Control:
    """The control plane: health, metrics, and changes at run time.

    Attributes:
        listen: Where operators connect.
        hosts: Names to which the control listener answers, besides `localhost`, every IP address and the name in
            `listen`. `*.example.com` are all names below it, `*` is any name.
        admin: Which tokens give the right to change things at run time; without it, nobody can.
        check_from: Networks from which check-limit may be called without a token; `unix` stands for all callers on Unix
            sockets.
        state: The folder of the audit log and the overrides. With the memory store the overrides live there; with Redis
            it holds a copy, for a start while Redis is unavailable. Each gateway needs its own. By default it is
            `$STATE_DIRECTORY` (of systemd), `gateway/ADDRESS` in `$XDG_STATE_HOME` or `~/.local/state`, or
            `gateway-state/ADDRESS` next to the configuration, with the address of the control listener: the first that
            can be written. Without any, reloads are recorded in the log, and nothing else can be changed at run time.
        audit_size: Size at which a new audit log file is started.
        audit_key: Key of the HMACs of the audit log's lines; without it they have plain hashes, which anyone who can
            write the file can compute as well.
    """

    listen: tuple[Listener, ...] = (Listener(port=8081),)
    hosts: tuple[str, ...] = ()
    admin: AdminPolicy | None = None
    check_from: tuple[Network | Unix, ...] = ()
    state: Path | None = None
    audit_size: Bytes = 64 << 20
    audit_key: bytes | None = field(default=None, repr=False)
