"""Which version answers a row. Pure: the same key always goes the same way."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b

from setpoint.serve.entities import SplitArm

#: ``keys -> their places``: 0 the live version, 1 the canary, 2 and on the arms of a test
Route = Callable[[Sequence[str]], bytes]

LIVE, CANARY, FIRST_ARM = 0, 1, 2
WHOLE = 1_000_000  #: of which spans of arms are parts
MOST_ARMS = 50
_FULL = 1 << 64


def router(salt: str, weight: float) -> Route:
    """Return a function that tells the arm of every key: 0 live, 1 canary.

    Args:
        salt: ``model/version`` of the canary, so that a key keeps its arm for the length
            of a release, and every release draws its canary group anew.
        weight: The canary's share of keys, 0 to 1. Raising it only ever moves keys from
            live to canary: the point of a key on [0, 1) does not depend on it.
    """
    if weight <= 0:
        return lambda keys: bytes(len(keys))
    if weight >= 1:
        return lambda keys: b"\x01" * len(keys)
    bound = int(weight * _FULL)
    start = _start(salt)

    def arms(keys: Sequence[str]) -> bytes:
        found = bytearray(len(keys))
        for i, key in enumerate(keys):
            point = start.copy()
            point.update(key.encode())
            found[i] = int.from_bytes(point.digest()) < bound
        return bytes(found)

    return arms


def splitter(salt: str, arms: Sequence[SplitArm], rest: Route | None) -> Route:
    """Return a function that tells the place of every key: an arm of a test, or what `rest` says.

    Arms take their share of all keys first, so that a release in progress changes nothing about
    who is in which; the canary has its share of what is left.

    Args:
        salt: The model: a key keeps its arm for as long as the arm keeps its spans.
        arms: Of the test, whose spans are apart.
        rest: The places of keys that fall to no arm; None: the live version.
    """
    spans = sorted((*span, FIRST_ARM + i) for i, arm in enumerate(arms) for span in arm.spans)
    starts = [start for start, _, _ in spans]
    start = _start(salt)

    def place(key: str) -> int:
        point = start.copy()
        point.update(key.encode())
        at = int.from_bytes(point.digest()) * WHOLE // _FULL
        found = bisect_right(starts, at) - 1
        if found < 0 or at >= spans[found][1]:
            return LIVE
        return spans[found][2]

    def places(keys: Sequence[str]) -> bytes:
        found = bytearray(map(place, keys))
        left = [i for i, one in enumerate(found) if one == LIVE]
        if rest is not None and left:
            for i, one in zip(left, rest([keys[i] for i in left]), strict=True):
                found[i] = one
        return bytes(found)

    return places


def laid_out(before: Sequence[SplitArm], wanted: Sequence[tuple[str, int, int]]) -> list[SplitArm]:
    """Return the arms of a test with the spans that change least from what is.

    An arm that grows takes keys that no arm had; one that shrinks gives them back. A key goes
    from one arm to another only where one takes what others give up and too few are in none.

    Args:
        before: The arms that are.
        wanted: Name, version and share in millionths of the arms that are to be, together at
            most all.
    """
    were = {arm.name: arm.spans for arm in before}
    spans = {name: _taken(were.get(name, []), size)[0] for name, _, size in wanted}
    given_up = [span for name, _, size in wanted for span in _taken(were.get(name, []), size)[1]]
    free = [*_gaps([*given_up, *(span for held in spans.values() for span in held)]), *given_up]
    for name, _, size in wanted:
        more, free = _taken(free, size - _size(spans[name]))
        spans[name] = _joined([*spans[name], *more])
    arms = [SplitArm(name=name, version=v, spans=spans[name]) for name, v, _ in wanted]
    return sorted(arms, key=lambda arm: arm.name)


Spans = list[tuple[int, int]]


def _size(spans: Spans) -> int:
    return sum(end - start for start, end in spans)


def _taken(spans: Spans, size: int) -> tuple[Spans, Spans]:
    """Return the first `size` millionths of spans, fewer if they are not as many, and the rest."""
    found: Spans = []
    rest: Spans = []
    for start, end in spans:
        cut = min(end, start + max(size, 0))
        size -= cut - start
        if cut > start:
            found.append((start, cut))
        if end > cut:
            rest.append((cut, end))
    return found, rest


def _joined(spans: Spans) -> Spans:
    found: Spans = []
    for start, end in sorted(spans):
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _gaps(spans: Spans) -> Spans:
    """Return what spans leave free."""
    found: Spans = []
    at = 0
    for start, end in _joined(spans):
        if start > at:
            found.append((at, start))
        at = end
    return [*found, (at, WHOLE)] if at < WHOLE else found


def _start(salt: str) -> blake2b:
    """Return what hashes keys to their points on [0, 2**64), before any key."""
    return blake2b(salt.encode() + b"\0", digest_size=8)
