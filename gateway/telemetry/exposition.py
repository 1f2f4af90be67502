"""What Prometheus reads: the numbers of all workers as one target."""

import math
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from gateway.telemetry.definitions import BY_NAME, METRICS, SERIES_LOST, WORKER_UP, Kind, MetricDefinition
from gateway.telemetry.shared_memory import SharedCounters

STALE = 5.0
"""Seconds without a sign of life after which a worker is taken for dead, and its gauges are not shown."""

_Labels = tuple[str, ...]
_Numbers = dict[_Labels, list[float]]


class Snapshot:
    """All numbers of one moment: a collector for prometheus-client.

    Args:
        tallies: Of all workers, in the order of their numbers, once or several times over.
        now: Seconds of the monotonic clock.
        workers: How many there are; None for as many as tallies.
    """

    def __init__(self, tallies: Sequence[SharedCounters], now: float, workers: int | None = None) -> None:
        self._numbers: dict[MetricDefinition, _Numbers] = {family: {} for family in METRICS}
        self._numbers[SERIES_LOST][()] = [sum(tally.lost for tally in tallies)]
        # Of two workers with one number the later is shown: the other one is on its way out.
        for place, tally in sorted(enumerate(tallies), key=lambda each: each[1].began):
            number = place % (workers or len(tallies))
            alive = now - tally.heartbeat < STALE
            up = self._numbers[WORKER_UP].setdefault((str(number),), [0.0])
            up[0] = max(up[0], float(alive))
            for (name, labels), (start, width) in tally.spans().items():
                family = BY_NAME[name]
                cells = list(tally.cells[start : start + width])
                if family.kind is Kind.GAUGE:
                    if alive and not math.isnan(cells[0]):
                        self._numbers[family][str(number), *labels] = cells
                    continue
                key = (str(number), *labels) if family.per_worker else labels
                sums = self._numbers[family].setdefault(key, [0.0] * width)
                sums[:] = map(sum, zip(sums, cells, strict=True))

    def collect(self) -> Iterator[Metric]:
        """All families, those included that have no series yet."""
        for family in METRICS:
            metric = _metric(family)
            for labels, cells in sorted(self._numbers[family].items()):
                _add(metric, family, labels, cells)
            yield metric


def _metric(family: MetricDefinition) -> Metric:
    labels = ("worker", *family.labels) if family.per_worker else family.labels
    match family.kind:
        case Kind.COUNTER:
            return CounterMetricFamily(family.name, family.help, labels=labels)
        case Kind.GAUGE:
            return GaugeMetricFamily(family.name, family.help, labels=labels)
        case Kind.HISTOGRAM:
            return HistogramMetricFamily(family.name, family.help, labels=labels)


def _add(metric: Metric, family: MetricDefinition, labels: _Labels, cells: list[float]) -> None:
    if isinstance(metric, HistogramMetricFamily):
        *counts, total = cells
        buckets: list[tuple[str, float]] = []
        below = 0.0
        for bound, count in zip((*family.bounds, float("inf")), counts, strict=True):
            below += count
            buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]
        metric.add_metric(labels, buckets, total)
    elif isinstance(metric, CounterMetricFamily | GaugeMetricFamily):
        metric.add_metric(labels, cells[0])


def exposition(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """A snapshot in the format that an Accept header asks for, and the content type of that."""
    registry = CollectorRegistry()
    registry.register(snapshot)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is none
        encode, content_type = choose_encoder("")
    return encode(registry), content_type
