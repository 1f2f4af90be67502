"""Counters shared by real processes."""

import json
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.shared_memory import WIDEST, SeriesKey, SharedCounters


def test_a_series_keeps_its_cells() -> None:
    counters = SharedCounters()
    first = counters.cell(SeriesKey("a", ("x", "y")))
    wide = counters.cell(SeriesKey("b"), 5)
    assert counters.cell(SeriesKey("a", ("x", "y"))) == first
    assert counters.cell(SeriesKey("b"), 5) == wide
    assert wide == first + 1
    assert counters.cell(SeriesKey("c")) == wide + 5


def test_labels_may_hold_anything() -> None:
    counters = SharedCounters()
    nasty = SeriesKey('a"\n', ('"', "\n", "\\", "ö", ""))
    counters.cells[counters.cell(nasty)] += 3
    assert counters.cells[counters.series()[nasty].start] == 3


def test_a_series_for_which_there_is_no_room_overwrites_nothing_and_is_counted() -> None:
    counters = SharedCounters()
    first = counters.cell(SeriesKey("first"))
    counters.cells[first] = 7
    number = 0
    while not counters.lost_series:
        last = counters.cell(SeriesKey("wide", (str(number),)), WIDEST)
        counters.cells[last : last + WIDEST] = counters.cells[last : last + WIDEST]
        number += 1
    spill = counters.cell(SeriesKey("too", ("many",)), WIDEST)
    for cell in range(spill, spill + WIDEST):
        counters.cells[cell] += 1
    assert counters.cells[first] == 7
    assert counters.lost_series == 2
    assert all(span.start >= spill + WIDEST for span in counters.series().values())
    assert len(counters.series()) == number


def test_names_for_which_there_is_no_room_are_counted_too() -> None:
    counters = SharedCounters()
    for number in range(10):
        counters.cell(SeriesKey("x" * 1_000_000, (str(number),)))
    assert counters.lost_series > 0
    assert len(counters.series()) + counters.lost_series == 10


GATEWAY = """
import json, os, signal, time
from gateway.telemetry import definitions
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.exposition import Snapshot, exposition
from gateway.telemetry.shared_memory import SharedCounters

counters = [SharedCounters(), SharedCounters()]
scrapes = []

def start(number, work):
    ready, done = os.pipe()
    pid = os.fork()
    if pid == 0:
        work(Metrics(counters, number))
        os.write(done, b".")
        signal.pause()
    os.read(ready, 1)
    return pid

def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

def busy(metrics):
    metrics.watch(definitions.CONNECTIONS, lambda: 5)
    metrics.publish()
    for _ in range(1000):
        metrics.request("orders", "allowed", 200)
        metrics.store_took(0.0007)

def young(metrics):
    metrics.request("orders", "allowed", 200)

def scrape():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, exposition(Snapshot(counters, time.monotonic()))[0])
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as text:
        scrapes.append(text.read())
    os.waitpid(pid, 0)

a, b = start(0, busy), start(1, busy)
scrape()
kill(a)
scrape()
a = start(0, young)
scrape()
kill(a)
kill(b)
scrape()
print(json.dumps(scrapes))
"""


def value_of(text: str, name: str, **labels: str) -> float | None:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


def test_any_worker_reports_for_all_even_killed_ones_and_no_counter_decreases() -> None:
    done = subprocess.run([sys.executable, "-c", GATEWAY], stdout=subprocess.PIPE, check=True)
    scrapes = json.loads(done.stdout)

    def series(name: str, **labels: str) -> list[float | None]:
        return [value_of(text, name, **labels) for text in scrapes]

    requests = series("gateway_requests_total", endpoint="orders", outcome="allowed", status="2xx")
    assert requests == [2000, 2000, 2001, 2001]
    assert series("gateway_store_seconds_count") == [2000, 2000, 2000, 2000]
    assert series("gateway_worker_starts_total", cause="start", worker="0") == [1, 1, 2, 2]
    assert series("gateway_worker_starts_total", cause="start", worker="1") == [1, 1, 1, 1]
    # The successor of worker 0 has not yet published its connections, and its predecessor's are not shown for it.
    assert series("gateway_connections", worker="0")[2] is None
    assert series("gateway_connections", worker="1")[:3] == [5, 5, 5]
