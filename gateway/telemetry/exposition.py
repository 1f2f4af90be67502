"""`exposition`: the metrics of all workers, in the format that Prometheus reads."""

import math
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from gateway.telemetry.definitions import BY_NAME, METRICS, SERIES_LOST, WORKER_UP, MetricDefinition, MetricType
from gateway.telemetry.shared_memory import SharedCounters

STALE = 5.0
"""Seconds without a heartbeat after which a worker counts as dead, and its gauges are not shown."""

_Labels = tuple[str, ...]
_Series = dict[_Labels, list[float]]


class Snapshot:
    """All metrics at one moment: a collector for prometheus-client.

    Args:
        counters: Of all workers, in the order of their numbers; with several sets, one set after the other.
        now: Seconds of the monotonic clock.
        workers: How many workers there are; None if there is one set of counters.
    """

    def __init__(self, counters: Sequence[SharedCounters], now: float, workers: int | None = None) -> None:
        self._series: dict[MetricDefinition, _Series] = {definition: {} for definition in METRICS}
        self._series[SERIES_LOST][()] = [sum(each.lost_series for each in counters)]
        # Of two workers with one number the later is shown: the other one is being replaced.
        for position, each in sorted(enumerate(counters), key=lambda pair: pair[1].started):
            number = position % (workers or len(counters))
            alive = now - each.heartbeat < STALE
            up = self._series[WORKER_UP].setdefault((str(number),), [0.0])
            up[0] = max(up[0], float(alive))
            for (name, labels), (start, width) in each.series().items():
                definition = BY_NAME[name]
                cells = list(each.cells[start : start + width])
                key = (str(number), *labels) if definition.per_worker else labels
                if definition.type is MetricType.GAUGE:
                    if alive and not math.isnan(cells[0]):
                        self._series[definition][key] = cells
                    continue
                sums = self._series[definition].setdefault(key, [0.0] * width)
                sums[:] = map(sum, zip(sums, cells, strict=True))

    def collect(self) -> Iterator[Metric]:
        """All metrics, including those that have no series yet."""
        for definition in METRICS:
            metric = _metric(definition)
            for labels, cells in sorted(self._series[definition].items()):
                _add(metric, definition, labels, cells)
            yield metric


def _metric(definition: MetricDefinition) -> Metric:
    labels = ("worker", *definition.labels) if definition.per_worker else definition.labels
    match definition.type:
        case MetricType.COUNTER:
            return CounterMetricFamily(definition.name, definition.help, labels=labels)
        case MetricType.GAUGE:
            return GaugeMetricFamily(definition.name, definition.help, labels=labels)
        case MetricType.HISTOGRAM:
            return HistogramMetricFamily(definition.name, definition.help, labels=labels)


def _add(metric: Metric, definition: MetricDefinition, labels: _Labels, cells: list[float]) -> None:
    if isinstance(metric, HistogramMetricFamily):
        *counts, total = cells
        buckets: list[tuple[str, float]] = []
        cumulative = 0.0
        for bound, count in zip((*definition.bounds, float("inf")), counts, strict=True):
            cumulative += count
            buckets.append((floatToGoString(bound), cumulative))  # type: ignore[no-untyped-call]
        metric.add_metric(labels, buckets, total)
    elif isinstance(metric, CounterMetricFamily | GaugeMetricFamily):
        metric.add_metric(labels, cells[0])


def exposition(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """A snapshot in the format that an Accept header asks for, and its content type."""
    registry = CollectorRegistry()
    registry.register(snapshot)
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # the header names an invalid version
        encode, content_type = choose_encoder("")
    return encode(registry), content_type
