"""`StoreUnavailableError`: the one exception that the store raises."""


class StoreUnavailableError(Exception):
    """Redis gave no usable reply: it is unreachable, too slow, read-only, out of memory, or broken.

    The command may or may not have been executed.
    """


def unavailable(error: BaseException) -> StoreUnavailableError:
    """Translate any failure between the caller and Redis; `error` becomes the cause."""
    failure = StoreUnavailableError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
