"""What is told to whom, how it is signed, and when a failed delivery is tried again."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np

from setpoint.errors import Invalid
from setpoint.notify.entities import Outcome

#: Attempts in all: the last is four to nine hours after the first.
ATTEMPTS = 14
_FIRST = 5.0  #: seconds before the second attempt
_LONGEST = 3 * 3600.0  #: seconds between two attempts
#: Answers that a later attempt may change, besides all from 500 on.
_PASSING = frozenset({408, 409, 423, 425, 429})
_PREFIX = "whsec_"


def matches(pattern: str, kind: str) -> bool:
    """Tell whether a pattern means a kind of event: the same, or a beginning and ``*``."""
    if pattern.endswith("*"):
        return kind.startswith(pattern[:-1])
    return kind == pattern


def check_patterns(patterns: Iterable[str]) -> list[str]:
    """Return the patterns, each once, in order.

    Raises:
        Invalid: If there is none, or one has a star elsewhere than at its end.
    """
    found = sorted({each.strip() for each in patterns})
    if not found:
        raise Invalid("a channel is told of some events", hint="e.g. release.* alarm.opened, or *")
    for each in found:
        if not each or "*" in each[:-1] or any(letter.isspace() for letter in each):
            raise Invalid(f"{each!r} is no kind of event", hint="e.g. release.promoted, release.*")
    return found


def passing(status: int) -> bool:
    """Tell whether an HTTP status may be another one later."""
    return status >= 500 or status in _PASSING


def next_attempt(
    attempts: int, outcome: Outcome, now: datetime, rng: np.random.Generator
) -> datetime | None:
    """Return when to try again after a failed attempt; None to give up.

    Waits double from 5 s up to 3 h, each shortened by up to a half at random so that what
    failed together does not come back together. A receiver that asks for more time gets it,
    up to the longest wait.

    Args:
        attempts: Made so far, 1 or more.
        outcome: Of the last one.
        now: The time.
        rng: For the random part.
    """
    if not outcome.again or attempts >= ATTEMPTS:
        return None
    wait = min(_FIRST * 2 ** (attempts - 1), _LONGEST)
    wait *= 1 - float(rng.random()) / 2
    if outcome.after is not None:
        wait = max(wait, min(outcome.after, _LONGEST))
    return now + timedelta(seconds=wait)


def signature(key: bytes, message: str, at: datetime, body: str) -> str:
    """Return ``v1,`` and the base64 HMAC-SHA256 of ``message.at.body``, at in Unix seconds.

    This is the scheme of Standard Webhooks, and MLflow's.
    """
    signed = f"{message}.{int(at.timestamp())}.{body}".encode()
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def key_of(secret: str) -> bytes:
    """Return the key that a webhook's secret is.

    One that begins with ``whsec_`` is its base64, as in Standard Webhooks; any other is the
    key itself.

    Raises:
        Invalid: If it claims to be base64 and is not.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise Invalid(
            "the secret begins with whsec_ but is not base64 after it",
            hint="leave it out: one is made",
        ) from None
