"""`Distinct`: how many different digests a stream has, in bounded memory: exactly for the first ones, then about.

K minimum values (Bar-Yossef et al.: Counting Distinct Elements in a Data Stream, RANDOM 2002; the estimator (k - 1) / u
is that of Beyer et al.: On Synopses for Distinct-Value Estimation, SIGMOD 2007). Digests are evenly distributed, so if
the k-th lowest of them lies at the fraction u of their range, there are about (k - 1) / u. The standard error is below
1 / sqrt(k - 2).
"""

from heapq import nsmallest

_KEPT = 10_000
"""The count is exact up to here; above, the standard error is 1 %."""

_RANGE = 1 << 128


class Distinct:
    """Counts digests of 32 hex digits.

    Args:
        kept: How many are kept: the count is exact up to here.
    """

    __slots__ = ("_highest", "_kept", "_lowest")

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._lowest: set[bytes] = set()
        self._highest = b""  # of those that are kept, once some are not

    def add(self, digest: bytes) -> None:
        """Count a digest, if it has not been counted before."""
        if self._highest and digest > self._highest:
            return
        self._lowest.add(digest)
        if len(self._lowest) > 2 * self._kept:
            self._prune()

    @property
    def is_exact(self) -> bool:
        """Whether `count` is exact."""
        return not self._highest and len(self._lowest) <= self._kept

    @property
    def count(self) -> int:
        """How many different digests there were."""
        if self.is_exact:
            return len(self._lowest)
        self._prune()
        return (self._kept - 1) * _RANGE // (int(self._highest, 16) + 1)

    def _prune(self) -> None:
        lowest = nsmallest(self._kept, self._lowest)
        self._lowest, self._highest = set(lowest), lowest[-1]
