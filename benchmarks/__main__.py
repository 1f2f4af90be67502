"""All comparisons with peers, one after the other, and all of their targets in one table: ``make bench``."""

from benchmarks.check_limit_cost import check_limit_cost
from benchmarks.connection_storm import connection_storm
from benchmarks.door_cost import door_cost
from benchmarks.growth import growth
from benchmarks.kit.command import command
from benchmarks.level_cost import level_cost
from benchmarks.limit_cost import limit_cost
from benchmarks.refusal_cost import refusal_cost
from benchmarks.request_cost import request_cost
from benchmarks.settlement_cost import settlement_cost
from benchmarks.start_time import start_time

command(
    __doc__,
    request_cost,
    refusal_cost,
    limit_cost,
    level_cost,
    settlement_cost,
    door_cost,
    check_limit_cost,
    connection_storm,
    start_time,
    growth,
)
