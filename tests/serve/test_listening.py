"""What a server says on stderr: what it is about, and why a model failed."""

import subprocess
import sys

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
