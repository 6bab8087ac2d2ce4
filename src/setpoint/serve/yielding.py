"""Letting the event loop have its turn while a version is loaded beside it.

Loading is done in a thread, and all threads of a Python take turns. Two things keep the one that
answers waiting: a turn lasts 5 ms unless said otherwise, and the garbage collector, which looks at
every object there is when many are made, lets nobody else run meanwhile: 60 ms, once scikit-learn
is loaded.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TURN_SECONDS = 0.0005  #: shorter ones are spent on changing over


def take_short_turns() -> None:
    """Have every thread of this process give way within half a millisecond of being asked."""
    sys.setswitchinterval(TURN_SECONDS)


@contextmanager
def uncollected() -> Iterator[None]:
    """Collect no garbage while something is loaded, and never look at what stays of it.

    Modules stay: once some were imported, all that exists is taken out of the collector's
    sight. A model alone may go again, so it stays in.
    """
    if not gc.isenabled():  # somebody else sees to it
        yield
        return
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
