"""Orphans: processes that became children of this one because their parent ended.

As process 1 of a container (or as a subreaper, see prctl(2)) the supervisor gets every orphan there is. One that ends
stays in the process table until its exit code is collected.
"""

import os
from collections.abc import Collection


def reap_orphans(own: Collection[int]) -> None:
    """Collect the exit codes of children that have ended and are nobody's.

    Args:
        own: The process ids of children whose exit codes somebody else collects.
    """
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # there are no children
            return
        if ended is None or ended.si_pid in own:
            return  # it is collected soon, and its like that come after it then
        os.waitpid(ended.si_pid, 0)
