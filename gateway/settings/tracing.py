"""`Tracing`: where spans are sent."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where OpenTelemetry spans are sent. Needs the [extra](installing.md#extras) `otel`.

    Attributes:
        endpoint: The collector's URL for traces: OTLP over HTTP, protobuf.
        sample: The share of requests that are traced, 0 to 1, unless a trusted proxy has already decided.
        service: The gateway's service name in traces.
        ca: Certificates to trust for https, in PEM; without it, those of the package `certifi`.
        credential_header: The header that carries the credential.
        credential: The whole value of that header.
    """

    endpoint: str
    sample: float = 0.1
    service: str = "gateway"
    ca: Path | None = None
    credential_header: str = "Authorization"
    credential: str | None = field(default=None, repr=False)
