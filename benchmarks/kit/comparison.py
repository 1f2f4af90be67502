"""Tables and targets of benchmarks that compare the gateway with its peers."""

from collections.abc import Mapping, Sequence

from benchmarks.kit.peers import GATEWAY
from benchmarks.kit.report import Table, Target
from benchmarks.kit.sample import Sample, middle, ratio, spread

Found = Mapping[str, Sequence[Sample]]


def cost_table(found: Found) -> Table:
    """A row for each peer; the ratio is the gateway's CPU divided by the peer's."""
    table = Table(
        [
            "peer",
            "CPU µs a request",
            "gateway / peer",
            "requests/s",
            "p50 ms",
            "p99 ms",
            "Redis CPU µs",
            "Redis commands",
        ]
    )
    ours = found.get(GATEWAY.name)
    for name, samples in found.items():
        mid = middle(samples)
        table.rows.append([
            name,
            spread([sample.cpu for sample in samples]),
            f"{ratio(ours, samples):.2f}" if ours else "",
            f"{mid.rate:.0f}",
            f"{mid.p50:.2f}",
            f"{mid.p99:.2f}",
            f"{mid.redis_cpu:.1f}",
            f"{mid.commands:.4f}",
        ])  # fmt: skip
    return table


def cost_target(found: Found, name: str, most: float) -> Target:
    """A bound for the gateway's CPU divided by a peer's."""
    ours, theirs = found.get(GATEWAY.name), found.get(name)
    return Target(f"CPU, gateway / {name}", most, ratio(ours, theirs) if ours and theirs else None)
