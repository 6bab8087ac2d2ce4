"""What a server says on stderr: what it is about, and why a model failed."""

import socket
import subprocess
import sys
from contextlib import ExitStack, closing

import pytest

from setpoint.serve.listening import deal_among, listen_together

TRACE = "Traceback (most recent call last):\n  File x\nValueError: odd\n"


def said(words: str) -> list[str]:
    """Return the lines that code which logs leaves on stderr."""
    begin = "import logging\nfrom setpoint.serve.listening import tell_on_stderr\n"
    code = f"{begin}tell_on_stderr('warning')\nlog = logging.getLogger('some')\n{words}"
    done = subprocess.run(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, check=True, text=True
    )
    return done.stderr.splitlines()


def test_what_a_model_raised_is_told_with_its_trace() -> None:
    lines = said(f"log.warning('model raised', extra={{'version': 3, 'trace': {TRACE!r}}})")
    assert lines == ["WARNING some model raised version=3", *TRACE.splitlines()]


def test_a_traceback_stands_below_what_it_is_about() -> None:
    failing = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    "
    first, *rest = said(f"{failing}log.exception('request failed', extra={{'path': '/v2'}})")
    assert first == "ERROR some request failed path=/v2"
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ZeroDivisionError: division by zero"


def test_plain_words_stay_as_they_are() -> None:
    assert said("log.warning('no %s', 'room')") == ["WARNING some no room"]


def dealt(listeners: list[socket.socket], count: int) -> list[int]:
    """Return how many of so many connections each socket has got."""
    at = listeners[0].getsockname()
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(at))
        return [accepted(one) for one in listeners]


def accepted(listener: socket.socket) -> int:
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux deals connections out as told")
def test_connections_are_dealt_to_the_sockets_that_somebody_accepts_from() -> None:
    with ExitStack() as stack:
        listeners = listen_together("127.0.0.1", 0, 3)
        for one in listeners:
            stack.enter_context(closing(one))
        deal_among(listeners[0], [0, 2])
        first, dead, third = dealt(listeners, 60)
        assert (dead, first + third) == (0, 60)
        assert min(first, third) > 5
        deal_among(listeners[0], [1])
        assert dealt(listeners, 20) == [0, 20, 0]
        deal_among(listeners[1], [0, 1, 2])
        assert min(dealt(listeners, 90)) > 5
