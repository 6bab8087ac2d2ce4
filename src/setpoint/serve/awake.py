"""Waiting awake for a client that asks one thing after another.

A process that sleeps is woken: on a virtual machine, both the waking and the telling that it may
wait cost as much as a prediction. A client that sends its next request as soon as it has an answer
waits for that each time, and the server's time goes there, too. Such a client is known by what it
did before. For it the event loop looks at its sockets again and again, for some microseconds after
an answer, and sleeps when nothing has come. That takes the time that waking would have taken.

Other requests gain nothing by it: beside several clients the loop hardly sleeps anyway, and where
they come now and then it would wait in vain.
"""

import os
from collections.abc import Callable
from time import perf_counter_ns

from setpoint.serve.yielding import hurried

AWAKE_NANOS = 50_000  #: after an answer, at most: a client in C or Go takes 10 to 30 µs
SOON_NANOS = 100_000  #: within which a client that is to be awaited comes back, its waking included
LEAST_TRUST = 8  #: times in a row, before it is waited for
_MOST_TRUST = 16
_LOST_TRUST = 8  #: for waiting in vain

Soon = Callable[[Callable[[], None]], object]


class Awake:
    """Tells the event loop of a server when to wait awake. Used by that loop alone."""

    def __init__(
        self, nanos: Callable[[], int] = perf_counter_ns, processors: int | None = None
    ) -> None:
        """Wait awake where there is a processor left for the client.

        Args:
            nanos: A clock.
            processors: That this process may run on; as the system says by default.
        """
        self._nanos = nanos
        self._alone = (_processors() if processors is None else processors) < 2
        self._client = 0  # who came last
        self._trust = 0  # how often it came back soon, of late
        self._answered = 0  # when it was answered
        self._until = 0
        self._awake = False

    def came(self, client: int) -> None:
        """Note that something came from a client, by whatever tells clients apart."""
        if client != self._client:
            self._client, self._trust = client, 0
        elif self._trust < _MOST_TRUST and self._nanos() - self._answered < SOON_NANOS:
            self._trust += 1
        self._until = 0

    def answered(self, soon: Soon) -> None:
        """Note that who came last has an answer; wait for the next request if it may come soon.

        Args:
            soon: The event loop's ``call_soon``: calls what it is given once it has looked at its
                sockets, for which it then does not sleep.
        """
        self._answered = self._nanos()
        if self._trust < LEAST_TRUST or self._alone or hurried():
            return
        self._until = self._answered + AWAKE_NANOS
        if not self._awake:
            self._awake, self._soon = True, soon
            soon(self._look)

    def _look(self) -> None:
        if self._nanos() < self._until:
            self._soon(self._look)
            return
        self._awake = False
        if self._until:  # nobody came
            self._trust -= _LOST_TRUST


def _processors() -> int:
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1
