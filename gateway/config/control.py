"""Reads `control`."""

from gateway.config.address import networks_or_unix
from gateway.config.entries import Entries
from gateway.config.listener import listeners
from gateway.config.location import path
from gateway.config.scalar import each, matching
from gateway.config.secret import Secret
from gateway.config.section import Section, keys_of
from gateway.config.token_key import ADMIN
from gateway.settings.control import Control

_host = matching(
    r"(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?)",
    "host name",
    "is not a host name; write ops.example.com, *.example.com or *, without a port",
    any_scalar=False,
)
_MIN_KEY_LENGTH = 32
_AUDIT_KEY = Secret("audit_key", f"the key, at least {_MIN_KEY_LENGTH} bytes, of the HMACs of the audit log's lines")


def _control(entries: Entries) -> Control:
    key = _AUDIT_KEY.pick(entries)
    if key is not None and len(key) < _MIN_KEY_LENGTH:
        entries.at(entries.one_of(*_AUDIT_KEY.pair) or "").refuse(
            f"a key of the audit log has at least {_MIN_KEY_LENGTH} bytes, this one has {len(key)}; "
            "make one with: openssl rand -hex 32"
        )
    return entries.build(Control, audit_key=key)


CONTROL = Section(
    "control",
    {
        **keys_of(
            Control,
            leave_out=("audit_key",),
            listen=listeners(Control().listen[0]),
            hosts=each(_host),
            admin=ADMIN,
            check_from=networks_or_unix,
            state=path,
        ),
        **_AUDIT_KEY.keys,
    },
    (Control,),
    _control,
    meanings=_AUDIT_KEY.meanings,
    exclusive=(_AUDIT_KEY.pair,),
    about="The control plane: health, metrics, and changes at run time. Keep it where only operators can reach it.",
)
