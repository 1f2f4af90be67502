"""How many examples the tests that try anything try: a few as a rule, in a run for a night as many as are asked for.

What a night finds is kept in `.hypothesis/` and tried first the next time; it becomes a case of the corpus, or an
`@example` beside the test.
"""

import os

from hypothesis import settings

_NIGHT = int(os.environ.get("FUZZ_EXAMPLES", "0"))


def examples(usual: int) -> settings:
    """So many as a rule. A failure prints what it takes to play it again."""
    return settings(max_examples=_NIGHT or usual, print_blob=True)
