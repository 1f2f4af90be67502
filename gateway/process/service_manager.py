"""`ServiceManager`: systemd, or another that started the gateway, is notified of its state (sd_notify(3))."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from socket import AF_UNIX, SOCK_DGRAM, socket

_VARIABLE = "NOTIFY_SOCKET"
_TIMEOUT = 1.0
"""Seconds in which it takes a message. It reads them at once, unless it hangs; then it is not waited for."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """The service manager that started the gateway, such as systemd.

    Attributes:
        address: Its socket: a path, or with ``@`` an abstract name; None if there is none to notify.
        log: Logs a message for the operator.
    """

    address: str | None
    log: Callable[[str], None]

    @classmethod
    def from_environment(cls, log: Callable[[str], None]) -> "ServiceManager":
        """The manager that the environment names. The variable is kept for the program after a rolling restart."""
        return cls(os.environ.get(_VARIABLE) or None, log)

    def ready(self, workers: int, *, reload_rejected: bool = False) -> None:
        """All workers serve; or a reload is over. The status is the only place for how it ended."""
        rejected = "; the last reload was rejected, see the log" * reload_rejected
        self._send("READY=1", f"STATUS={workers} worker{'s' * (workers > 1)} serving{rejected}")

    def reloading(self) -> None:
        """The rules are being reloaded. The time tells systemd which reload request this belongs to."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", "STATUS=reloading the rules")

    def stopping(self) -> None:
        """The workers finish what is in flight."""
        self._send("STOPPING=1", "STATUS=finishing requests in flight")

    def _send(self, *lines: str) -> None:
        if self.address is None:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket(AF_UNIX, SOCK_DGRAM) as opened:
                opened.settimeout(_TIMEOUT)
                opened.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            self.log(f"the service manager at {_VARIABLE} cannot be notified of {lines[0]}: {error.strerror or error}")
