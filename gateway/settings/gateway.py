"""`Settings`: all of `gateway.yaml`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.limits.endpoint import DEFAULT
from gateway.limits.path import PathPolicy
from gateway.settings.analytics import Analytics
from gateway.settings.answers import Answers
from gateway.settings.control import Control
from gateway.settings.dns import Dns
from gateway.settings.door import Doors
from gateway.settings.identity import IdentityPolicy
from gateway.settings.intake import Intake
from gateway.settings.listener import Listener
from gateway.settings.log import LogPolicy
from gateway.settings.store import Store
from gateway.settings.tracing import Tracing
from gateway.settings.upstream import Upstream
from gateway.settings.url import Origin

PUBLIC, CONTROL = "public", "control"
"""What the listeners of clients and of operators are called."""


def sources_of_attributes(identity: IdentityPolicy, doors: Doors) -> list[Collection[str]]:
    """See `Settings.attributes`."""
    told = [] if doors.rate_limit is None else [doors.rate_limit.attributes]
    return [*identity.attributes, *told]


@dataclass(frozen=True, slots=True)
class Settings:
    """All of `gateway.yaml`.

    Attributes:
        upstreams: The upstreams by name. Endpoints that name none use the one called `default`.
        listen: Where clients connect.
        control: The control plane.
        doors: Where other proxies ask whether a request may pass, instead of sending it through the gateway.
        dns: How the names of upstreams are resolved.
        intake: Limits on client connections and on the size and pace of requests.
        store: Where buckets are stored.
        identity: How callers are identified.
        paths: How paths are read where servers differ.
        rules: The rule file, or a folder of rule files; without it, nothing is limited.
        rule_tests: The file of rule tests, or a folder of such files. `gateway test` and `gateway check` run them, and
            rules under which one fails are not reloaded; without it, there are none.
        watch: How often the files that a reload reads are looked at. When their contents have changed, they are
            reloaded as by SIGHUP. Without it, that is left to whoever changes them.
        workers: Number of worker processes; without it, one with the memory store, and with Redis one for each
            processor that the gateway may use: by its CPU affinity and its cgroup's CPU quota, rounded up.
        drain_delay: How long the gateway still accepts connections when it is told to stop, while `/readyz` already
            says that it is not ready: as long as its load balancer takes to notice. A rolling restart needs no delay.
        drain_time: How long requests in flight may take to finish when the gateway stops, after `drain_delay`.
        answers: What the gateway's own responses say.
        keep_rate_limit_headers: Whether an upstream's own rate-limit headers reach the client.
        log: Which events are logged, and in which format.
        access_log: The share of requests that are logged: true for all, false for none, 0.01 for every hundredth in
            each worker, whatever their outcome.
        analytics: Where decisions, counted by the minute, are kept.
        cors_origins: Origins of web pages that may read the gateway's own responses, such as a 429, and use the control
            plane. Preflights on the public port are forwarded: what pages may do with the API is for upstreams to say.
        tracing: Where OpenTelemetry spans are sent; without it, nowhere.
        via: The gateway's name in the Via header of requests to upstreams. A request that comes with it has passed the
            gateway before, and gets a 508. `auto` makes a name of the host's name, the address to listen on and the
            upstreams; `off` adds no Via and detects no loop. Gateways that pass requests on to each other need
            different names.
    """

    upstreams: Mapping[str, Upstream]
    listen: tuple[Listener, ...] = (Listener(),)
    control: Control = Control()
    doors: Doors = Doors()
    dns: Dns = Dns()
    intake: Intake = Intake()
    store: Store = Store()
    identity: IdentityPolicy = IdentityPolicy()
    paths: PathPolicy = field(default_factory=PathPolicy)
    rules: Path | None = None
    rule_tests: Path | None = None
    watch: float | None = None
    workers: int | None = None
    drain_delay: float = 0.0
    drain_time: float = 30.0
    answers: Answers = Answers()
    keep_rate_limit_headers: bool = False
    log: LogPolicy = LogPolicy()
    access_log: float = 0.0
    analytics: Analytics = Analytics()
    cors_origins: tuple[str, ...] = ()
    tracing: Tracing | None = None
    via: str = "auto"

    @property
    def attributes(self) -> list[Collection[str]]:
        """Names of the attributes that each identity source may find, and that each door may be told."""
        return sources_of_attributes(self.identity, self.doors)

    @property
    def listeners(self) -> dict[str, tuple[Listener, ...]]:
        """All listeners, by what they are for: `public`, `control`, or the name of a door."""
        doors = {name: door.listen for name, door in self.doors.by_name.items()}
        return {PUBLIC: self.listen, CONTROL: self.control.listen, **doors}

    @classmethod
    def of_one(cls, upstream: Origin) -> "Settings":
        """The defaults, with one upstream."""
        return cls(upstreams={DEFAULT: Upstream(DEFAULT, (upstream,))})
