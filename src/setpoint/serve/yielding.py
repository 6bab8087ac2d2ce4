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
LOADING_SECONDS = 0.00005  #: while a version is loaded: a request asks for several turns


def take_short_turns() -> None:
    """Have every thread of this process give way within half a millisecond of being asked."""
    sys.setswitchinterval(TURN_SECONDS)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Load something without holding up the event loop for longer than needed.

    No garbage is collected meanwhile, and what stays is never looked at. Modules stay: once some
    were imported, all that exists is taken out of the collector's sight. A model alone may go
    again, so it stays in.
    """
    collects, known = gc.isenabled(), len(sys.modules)
    sys.setswitchinterval(LOADING_SECONDS)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(TURN_SECONDS)
        if collects:  # else somebody else sees to it
            if len(sys.modules) > known:
                gc.freeze()
            gc.enable()
