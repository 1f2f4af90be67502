"""All four benchmarks, one after the other: ``make bench``."""

from benchmarks.growth import growth
from benchmarks.kit.command import command
from benchmarks.level_cost import level_cost
from benchmarks.limit_cost import limit_cost
from benchmarks.refusal_cost import refusal_cost
from benchmarks.request_cost import request_cost
from benchmarks.settlement_cost import settlement_cost

command(__doc__, request_cost, refusal_cost, limit_cost, level_cost, settlement_cost, growth)
