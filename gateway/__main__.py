"""`python -m gateway` is the command `gateway`."""

import sys

from gateway.commands.cli import main

sys.exit(main())
