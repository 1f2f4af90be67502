"""Reads `control`."""

from gateway.config.address import network
from gateway.config.listener import listener
from gateway.config.location import path
from gateway.config.scalar import each
from gateway.config.section import Section, keys_of
from gateway.config.token import ADMIN
from gateway.settings.control import Control

CONTROL = Section(
    "control",
    keys_of(Control, listen=listener(Control().listen), admin=ADMIN, check_from=each(network), state=path),
    (Control,),
    lambda entries: entries.build(Control),
    about="The control plane: health, metrics, and changes at run time. Keep it where only operators can reach it.",
)
