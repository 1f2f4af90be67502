"""Tables and targets of benchmarks that compare the gateway with its peers."""

from collections.abc import Mapping, Sequence

from benchmarks.kit.peer import Peer
from benchmarks.kit.peers import COMPILED, GATEWAY
from benchmarks.kit.report import Table, Target
from benchmarks.kit.sample import Sample, middle, ratio, spread

Found = Mapping[str, Sequence[Sample]]


def cost_table(found: Found) -> Table:
    """A row for each peer; the ratios are the CPU of each build of the gateway divided by the peer's."""
    builds = [build.name for build in (GATEWAY, COMPILED) if build.name in found]
    table = Table(
        [
            "peer",
            "CPU µs a request",
            *(f"{build} / peer" for build in builds),
            "requests/s",
            "p50 ms",
            "p99 ms",
            "Redis CPU µs",
            "Redis commands",
        ]
    )
    for name, samples in found.items():
        mid = middle(samples)
        table.rows.append([
            name,
            spread([sample.cpu for sample in samples]),
            *(f"{ratio(found[build], samples):.2f}" for build in builds),
            f"{mid.rate:.0f}",
            f"{mid.p50:.2f}",
            f"{mid.p99:.2f}",
            f"{mid.redis_cpu:.1f}",
            f"{mid.commands:.4f}",
        ])  # fmt: skip
    return table


def cost_target(found: Found, ours: Peer, theirs: Peer, most: float, section: str, text: str = "") -> Target:
    """A bound for the CPU of one divided by that of the other."""
    pair = found.get(ours.name), found.get(theirs.name)
    measured = ratio(*pair) if pair[0] and pair[1] else None
    return Target(f"CPU, {text or f'{ours.name} / {theirs.name}'}", most, measured, section)
