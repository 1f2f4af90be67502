"""How many workers a gateway has."""

from gateway.config.flags import MAX_WORKERS
from gateway.process.processors import usable_processors
from gateway.settings.gateway import Settings


def worker_count(settings: Settings) -> int:
    """As many as the settings say; else one with the memory store, and one for each usable processor with Redis."""
    if settings.workers is not None:
        return settings.workers
    return 1 if settings.store.url is None else min(usable_processors(), MAX_WORKERS)
