"""Headers in which proxies say who somebody is: from strangers they end here, from trusted proxies they pass."""

from ipaddress import ip_network

import pytest

from gateway.limits.identity import Identity
from gateway.limits.identity_source import ApiKey, Claim
from gateway.proxy.proxy_headers import KNOWN, ProxyHeaders
from tests.kit.identity import make_identity
from tests.proxy.running import proxy
from tests.wire import ask, get, upstream

STRANGERS = make_identity(trusted_proxies=())
PROXIES = make_identity(trusted_proxies=(ip_network("127.0.0.0/8"),))

_BY_PROXIES = """
    Forwarded X-Real-IP X-Client-IP True-Client-IP CF-Connecting-IP CF-Connecting-IPv6 Fastly-Client-IP Fly-Client-IP
    Fly-Forwarded-Port X-Cluster-Client-IP X-Azure-ClientIP X-Azure-SocketIP X-Appengine-User-IP X-Appengine-User-Email
    X-Appengine-Inbound-Appid X-Appengine-Cron DO-Connecting-IP X-Nf-Client-Connection-Ip X-Vercel-Forwarded-For
    X-Akamai-Edgescape WL-Proxy-Client-IP Proxy-Client-IP X-Original-URL X-Rewrite-URL X-Original-Forwarded-For
    X-Envoy-External-Address X-Envoy-Internal X-Envoy-Original-Path X-Envoy-Peer-Metadata X-Envoy-Decorator-Operation
    Remote-User Remote-Groups Remote-Email Remote-Name X-Remote-User X-Remote-Group X-Remote-Extra-Scopes
    X-Forwarded-User X-Forwarded-Email X-Forwarded-Groups X-Forwarded-Preferred-Username X-Forwarded-Access-Token
    X-Forwarded-Client-Cert X-Forwarded-Tls-Client-Cert X-Forwarded-Tls-Client-Cert-Info X-Forwarded-Port
    X-Auth-Request-User X-Auth-Request-Email X-Auth-Request-Groups X-Auth-Request-Access-Token
    Client-Cert Client-Cert-Chain SSL-Client-Cert SSL-Client-Verify SSL-Client-Subject-DN X-SSL-Client-Cert
    X-SSL-Client-Verify X-SSL-Client-S-DN X-SSL-Client-CN X-SSL-Issuer X-Client-Cert X-Client-Certificate
    X-Client-Verify X-Client-DN X-ARR-ClientCert X-Amzn-Mtls-Clientcert X-Amzn-Mtls-Clientcert-Subject
    X-Tls-Client-Subject X-Amzn-Oidc-Identity X-Amzn-Oidc-Data X-Amzn-Oidc-Accesstoken X-Amzn-Request-Context
    X-Goog-Authenticated-User-Email X-Goog-Authenticated-User-Id X-Goog-IAP-JWT-Assertion X-Endpoint-API-UserInfo
    X-Apigateway-Api-Userinfo X-MS-CLIENT-PRINCIPAL X-MS-CLIENT-PRINCIPAL-ID X-MS-CLIENT-PRINCIPAL-NAME
    X-MS-TOKEN-AAD-ID-TOKEN MS-ASPNETCORE-CLIENTCERT Cf-Access-Authenticated-User-Email Cf-Access-Jwt-Assertion
    Tailscale-User-Login Tailscale-User-Name Tailscale-App-Capabilities X-Consumer-Username X-Consumer-Custom-ID
    X-Credential-Identifier X-Authenticated-Userid X-Userinfo X-Authentik-Username X-Pomerium-Claim-Email X-Vouch-User
    X-WEBAUTH-USER X-Token-User-Email X-JWT-Payload X-Jwt-Claim-Sub OIDC-Claim-Sub Shib-Session-ID SM-User IV-User
    iv-groups $WSRU X-Sandstorm-User-Id Teleport-Jwt-Assertion Dapr-Caller-App-Id l5d-client-id X-User-Id X-User-Tier
    CloudFront-Viewer-Address CloudFront-Forwarded-Proto CF-Visitor CF-IPCountry Cf-Client-Cert-Sha256 Akamai-Origin-Hop
    Disguised-Host WAS-Default-Hostname X-FD-HealthProbe X-Nf-Account-Id X-Railway-Edge Fly-Src X-Vercel-Oidc-Token
    X-Amzn-Ava-User-Context X-Amzn-Lattice-Identity X-Amzn-Tls-Version X-Replaced-Path X-Accel-Mapping X-Sendfile-Type
    X-Client-Subject-DN X-Client-S-DN X-Client-CN X-TLS-Cipher SSLClientCertStatus X-Real-Client-IP X-ClientIP
    Cluster-Client-IP X-Proxy-Roles X-Proxy-Ext-Dept X-JWT-Assertion Ngrok-Auth-User-Email CAS-User Osso-User-Dn eppn
    Proxy X-Auth-UserId X-User-Email X-User-Groups X-User-Roles
"""
_BY_CLIENTS = """
    Authorization Cookie X-Api-Key X-Auth-Token X-Auth-User X-Auth-Key X-Access-Token X-Amz-Date X-Amz-Security-Token
    X-Goog-Api-Key X-Goog-User-Project X-MS-Version X-MS-Date X-CSRF-Token X-Requested-With X-Client-Version
    X-Session-Token CF-Access-Client-Id X-Vercel-Protection-Bypass Fly-Prefer-Region X-HTTP-Method-Override Origin
    Remote X-Remote X-Real SSL X-Forward X-Envoy Via traceparent Range If-Match X-Cloud-Trace-Context X-Amzn-Trace-Id
    Ngrok-Skip-Browser-Warning X-Proxy X-Auth-User-Agent Impersonate-User X-Client-Request-Id X-Country Fastly-Debug
"""
BY_PROXIES, BY_CLIENTS = _BY_PROXIES.split(), _BY_CLIENTS.split()


async def passed(identity: Identity, names: list[str], *more: str, proxy_headers: tuple[str, ...] = ()) -> list[str]:
    """Those of the headers that reach an upstream."""
    async with upstream() as up, proxy(up.port, identity=identity, proxy_headers=proxy_headers) as running:
        for start in range(0, len(names), 50):
            fields = [f"{name}: v{start}" for name in names[start : start + 50]]
            assert (await ask(running.port, get("/", *fields, *more))).status == 200
    return [name.decode() for request in up.requests for name, value in request.fields if value.startswith(b"v")]


async def test_from_a_stranger_they_end_here() -> None:
    assert await passed(STRANGERS, BY_PROXIES) == []


async def test_from_a_trusted_proxy_they_pass() -> None:
    assert await passed(PROXIES, BY_PROXIES) == BY_PROXIES


async def test_in_any_case_and_with_any_signs_between_the_letters_they_end_here() -> None:
    names = [name.upper() for name in BY_PROXIES] + [name.lower() for name in BY_PROXIES]
    names += [name.replace("-", sign) for name in BY_PROXIES for sign in ".!~_" if "-" in name]
    assert await passed(STRANGERS, names) == []


async def test_what_clients_send_on_their_own_account_passes() -> None:
    assert await passed(STRANGERS, BY_CLIENTS) == BY_CLIENTS


@pytest.mark.parametrize("identity", [STRANGERS, PROXIES], ids=["stranger", "proxy"])
async def test_a_setting_adds_to_them(identity: Identity) -> None:
    names = ["X-Company-User", "x-sso-id", "X-SSO-Roles", "X-Sso", "X-Company", "X-Company-User-2"]
    found = await passed(identity, names, proxy_headers=("x-company-user", "X-Sso-*"))
    assert found == (names[3:] if identity is STRANGERS else names)


async def test_a_header_that_the_settings_ask_clients_for_is_theirs() -> None:
    asking = make_identity((ApiKey({"0" * 64: Claim("alice")}, "X-Forwarded-Access-Token"),), ())
    assert await passed(asking, ["X-Forwarded-Access-Token", "X-Forwarded-User"]) == ["X-Forwarded-Access-Token"]


async def test_connection_does_not_take_away_what_a_proxy_has_said() -> None:
    names = ["Remote-User", "X-Amzn-Oidc-Identity", "X-Company-User"]
    connection = f"Connection: {', '.join(names)}, X-Other"
    found = await passed(PROXIES, [*names, "X-Other"], connection, proxy_headers=("X-Company-User",))
    assert found == names


def test_each_name_of_the_list_is_known_once() -> None:
    assert len(KNOWN) == len(set(KNOWN))
    headers = ProxyHeaders()
    for name in KNOWN:
        assert name == name.lower()
        assert name.replace("*", "x").encode() in headers
        others = [other[:-1] for other in KNOWN if other.endswith("*") and other != name]
        assert not name.startswith(tuple(others)), f"{name} is already covered"
