"""`open_sink`: the sink that the settings describe."""

from pathlib import Path

from gateway.analytics.files import FileSink
from gateway.analytics.sink import Sink, SinkUnavailableError
from gateway.settings.analytics import Analytics


def open_sink(settings: Analytics) -> Sink:
    """Open the sink; it connects when it is first used.

    Raises:
        SinkUnavailableError: asyncpg is not installed, or the file named for certificates contains none.
    """
    if settings.postgres is None:
        return FileSink(settings.folder or Path(), settings.keep)
    try:
        from gateway.analytics.postgres import PostgresSink  # noqa: PLC0415 - asyncpg is an extra
    except ModuleNotFoundError as error:
        raise SinkUnavailableError(
            f"analytics.postgres needs {error.name}: install the extra postgres, see docs/installing.md"
        ) from error
    return PostgresSink(settings.postgres, settings.keep)
