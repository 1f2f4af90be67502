"""Tables and targets of benchmarks that compare the gateway with its peers."""

from collections.abc import Mapping, Sequence

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


def cost_target(found: Found, name: str, most: float) -> Target:
    """A bound for the gateway's CPU divided by a peer's: that of the compiled build, if it is measured."""
    build = COMPILED.name if COMPILED.name in found else GATEWAY.name
    ours, theirs = found.get(build), found.get(name)
    return Target(f"CPU, {build} / {name}", most, ratio(ours, theirs) if ours and theirs else None)
