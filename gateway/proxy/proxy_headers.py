"""`ProxyHeaders`: the headers with which the parts of a chain tell each other who somebody is, and where from.

A server that reads one of them believes whoever wrote it. So only a trusted proxy may send them through the gateway.
The list has what proxies, load balancers, CDNs, platforms and servers of single sign-on write. It has nothing that
clients send on their own account: no credentials such as X-Auth-Token, and no X-Amz-Date or X-Goog-Api-Key, which look
alike. Names that end in ``*`` stand for all that begin so.
"""

from collections.abc import Iterable
from typing import Final

_ADDRESSES: Final = """
    akamai-* ali-cdn-real-ip cdn-src-ip cf-connecting-ip cf-connecting-ipv6 cf-ipcountry cf-pseudo-ipv4 cf-visitor
    client-ip cloudfront-* cluster-client-ip disguised-host do-connecting-ip eo-connecting-ip fastly-client
    fastly-client-ip fastly-ff fastly-ssl fly-client-ip fly-forwarded-* fly-src* forwarded forwarded-for
    forwarded-for-ip front-end-https incap-client-ip l5d-* proxy proxy-client-ip remote-addr remote-host true-client-ip
    was-default-hostname wl-proxy-* x-accel-* x-akamai-* x-amzn-tls-* x-amzn-waf-* x-appengine-* x-arr-* x-azure-*
    x-cdn-src-ip x-cf-forwarded-url x-cf-proxy-signature x-client-ip x-clientip x-cluster-client-ip x-envoy-* x-fd-*
    x-forward-for x-forwarded x-forwarded-* x-host x-http-host-override x-nf-* x-original-* x-originally-forwarded-for
    x-originating-ip x-proxyuser-ip x-railway-* x-real-* x-remote-* x-replaced-path x-rewrite-* x-scheme
    x-sendfile-type x-source-ip x-sucuri-* x-true-client-ip x-url-scheme x-user-ip x-vercel-forwarded-for x-vercel-ip-*
    x-vercel-oidc-token x-vercel-proxied-for x-waws-* z-forwarded-for
"""
"""Where a request came from, and which URL it was for before somebody rewrote it. `proxy` is here because CGI
programs take it for HTTP_PROXY, the proxy of their own requests (CVE-2016-5385)."""

_CERTIFICATES: Final = """
    cf-client-cert-* client-cert client-cert-chain ssl-client-* sslclientcert* x-amzn-mtls-*
    x-client-cert* x-client-cn x-client-dn x-client-s-dn x-client-ssl-* x-client-subject-* x-client-verify x-clientcert*
    x-ssl-* x-tls-*
"""
"""What TLS told a proxy of the client; the first two are RFC 9440."""

_USERS: Final = """
    $ws* auth-user cas-user cf-access-authenticated-user-* cf-access-jwt-assertion dapr-caller-* eppn iv-*
    mellon-* ms-aspnetcore-* ngrok-auth-* oam-* oidc-* osso-* proxy-remote-* remote-email remote-groups
    remote-name remote-user shib-* sm-* smuser tailscale-* teleport-jwt-assertion unscoped-affiliation
    x-amzn-ava-* x-amzn-lambda-context x-amzn-lattice-* x-amzn-oidc-* x-amzn-request-context x-anonymous-consumer
    x-apigateway-api-userinfo x-auth-audience x-auth-email x-auth-groups x-auth-request-* x-auth-roles x-auth-subject
    x-auth-userid x-auth-username x-authenticated-* x-authentik-* x-consumer-* x-credential-identifier
    x-credential-username x-endpoint-api-* x-ext-authz-* x-goog-authenticated-user-* x-goog-iap-* x-iis-windowsauthtoken
    x-jwt-assertion x-jwt-claim-* x-jwt-payload x-ms-client-principal* x-ms-token-* x-pomerium-* x-proxy-ext-*
    x-proxy-roles x-proxy-user x-sandstorm-* x-spiffe-* x-token-user-* x-user-email x-user-groups x-user-id x-user-roles
    x-user-tier x-userinfo x-vouch-* x-webauth-*
"""
"""Whom a proxy, or the service it asked, took the client for."""

KNOWN: Final = tuple(f"{_ADDRESSES} {_CERTIFICATES} {_USERS}".split())

_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz0123456789"
_FOLDED: Final = bytes(letter if letter in _LETTERS else ord("-") for letter in range(256))
"""Some servers hand headers on as variables, in which every character but letters and digits is the same."""


def fold(name: bytes) -> bytes:
    """A header's name, in lower case, as such servers see it: each other character becomes a hyphen."""
    return name.translate(_FOLDED)


class ProxyHeaders:
    """Tells which headers only a trusted proxy may set.

    Args:
        more: Names beyond those that are known; one that ends in ``*`` stands for all that begin so.
        clients: Names that clients may send, although they are in the list.
    """

    __slots__ = ("_clients", "_names", "_prefixes")

    def __init__(self, more: Iterable[str] = (), clients: Iterable[str] = ()) -> None:
        names = {name.lower().encode() for name in (*KNOWN, *more)}
        self._prefixes = tuple(name[:-1] for name in names if name.endswith(b"*"))
        self._names = frozenset(names)
        self._clients = frozenset(name.lower().encode() for name in clients)

    def __contains__(self, name: bytes) -> bool:
        """Whether a header, named in lower case, is one of them, or some server may take it for one."""
        if name in self._clients:
            return False
        folded = fold(name)
        return folded in self._names or folded.startswith(self._prefixes) or name.startswith(self._prefixes)
