"""Files as an operator has them, and what the loader says to them."""

from pathlib import Path

import pytest
import trustme
import yaml
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.config.diagnostic import ConfigError, Findings
from gateway.config.flags import Flags
from gateway.config.loader import Loaded, load
from gateway.config.node import Node
from gateway.config.reader import Reader
from gateway.config.source import Source

UPSTREAMS = "upstreams: {default: {urls: [http://127.0.0.1:9000]}}\n"


def read(reader: Reader[object], text: str) -> object:
    """What a reader makes of a value in `conf/test.yaml`."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    return reader(Node(Source("test.yaml", Path("conf"), Findings()), node))


def load_rules_text(folder: Path, text: str | bytes) -> Loaded:
    """The gateway with one rule file, `rules.yaml`."""
    file = folder / "rules.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(None, Flags(upstream="http://127.0.0.1:9000", rules=str(file)))


def load_gateway_text(folder: Path, text: str, *, upstreams: str = UPSTREAMS) -> Loaded:
    """The gateway with one `gateway.yaml`; without rules, of which it warns."""
    file = folder / "gateway.yaml"
    file.write_text(text + upstreams)
    return load(file)


def rules_problems(folder: Path, text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_rules_text(folder, text)
    return [str(problem).removeprefix(f"{folder}/") for problem in error.value.problems]


def gateway_problems(folder: Path, text: str, *, upstreams: str = UPSTREAMS) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_gateway_text(folder, text, upstreams=upstreams)
    return [str(problem).removeprefix(f"{folder}/") for problem in error.value.problems]


def gateway_warnings(folder: Path, text: str) -> list[str]:
    """All but the one that there are no rules."""
    warnings = load_gateway_text(folder, text).warnings
    return [str(each).removeprefix(f"{folder}/") for each in warnings if "no rules are named" not in each.message]


def write_certificates(folder: Path, *names: str) -> None:
    """Files, each of which holds a certificate and its key, so that it can stand for either."""
    pair = trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
    for name in names:
        (folder / name).write_bytes(pair)


def public_pem(key: Ed25519PrivateKey | EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def flag_problems(flags: Flags) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(None, flags)
    return [str(problem) for problem in error.value.problems]


def problems_of(config: Path) -> list[str]:
    """What is wrong with a `gateway.yaml` and the rules that it names."""
    with pytest.raises(ConfigError) as error:
        load(config)
    return [str(each) for each in error.value.problems]
