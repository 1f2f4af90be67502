"""Names of headers that are looked up in each request: `istr` spares multidict making the lower case each time."""

from typing import Final

from multidict import istr

AUTHORIZATION: Final = istr("Authorization")
CONTENT_LENGTH: Final = istr("Content-Length")
EXPECT: Final = istr("Expect")
HOST: Final = istr("Host")
PROXY_AUTHORIZATION: Final = istr("Proxy-Authorization")
TRANSFER_ENCODING: Final = istr("Transfer-Encoding")
UPGRADE: Final = istr("Upgrade")
VIA: Final = istr("Via")
X_FORWARDED_FOR: Final = istr("X-Forwarded-For")
X_FORWARDED_HOST: Final = istr("X-Forwarded-Host")
X_FORWARDED_PROTO: Final = istr("X-Forwarded-Proto")
X_REQUEST_ID: Final = istr("X-Request-ID")
