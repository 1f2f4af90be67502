"""Which build of the gateway this is."""

from gateway import __version__

COMPILED = not __file__.endswith(".py")
"""Whether this module is compiled, and with it all that the compiled build compiles."""

VERSION = f"{__version__} (compiled)" if COMPILED else __version__
"""For operators."""
