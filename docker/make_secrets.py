# ruff: noqa: INP001 - a script, not a package
"""Makes the secrets of docker/compose.yaml, once, so that none stands in a file of this repository.

Each folder is a volume, and each volume is mounted only where its secrets are used. Volumes belong to root and the
programs that read them have users of their own, so the files are readable by all users of those containers.
"""

import secrets
from pathlib import Path

for name in ("store/redis", "gateway/hash-key", "gateway/admin"):
    file = Path("/secrets", name)
    if not file.exists():
        file.write_text(secrets.token_hex(32))
        file.chmod(0o444)
