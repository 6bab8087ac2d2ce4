"""From the rows of a request to scores and log records. No I/O: the caller logs and sends."""

from collections.abc import Sequence
from time import perf_counter_ns

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from setpoint.errors import Invalid
from setpoint.serve import blobs
from setpoint.serve.arms import Arm, ModelFailed
from setpoint.serve.choosing import Choice, Tested, arm_of
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import PredictionRecord, Role, ShadowRecord
from setpoint.serve.outputs import OutputSpec, merged
from setpoint.serve.protocols import Floats, Given
from setpoint.serve.routing import CANARY, FIRST_ARM, LIVE
from setpoint.serve.v2 import Rows

_NOTHING: tuple[dict[str, bytes], dict[str, list[str | None]]] = ({}, {})
_LIVE, _CANARY, _FALLBACK, _BATCH, _NAMED, _ARM, _TEST = range(7)  #: see `rules.ROLES`


class Part(Struct, frozen=True):
    """The rows of a request that one arm was to answer."""

    role: int
    rows: Rows
    index: Sequence[int] | None  #: which rows of the request; None means all
    scores: Floats | None  #: None where nobody could answer
    version: int  #: who answered, or should have
    nanos: int  #: how long scoring took
    failed: int = 0  #: the version that failed, 0 where none did
    why: str = ""
    status: int = 500  #: what its failure is worth
    given: Given | None = None  #: all that the model gave, where that is more than scores
    shared: int = 1  #: requests that were scored in the same call
    waited: int | None = None  #: nanoseconds until the call began; None: nothing was waited for
    arm: str = ""  #: of a test, or whom a tester named


def score(endpoint: Endpoint, rows: Rows, keys: Sequence[str], version: Choice = 0) -> list[Part]:
    """Route every row to its arm and score it; all to one `version` where that is given.

    The live version stands in for a canary or an arm of a test that fails, though not for one
    that a tester named, and its baseline, if it has one,
    for a live version that fails. An arm fails as a whole: one row without a finite score
    and nothing missing in it casts doubt on the others of the request. A row that lacks an
    input its version needs is no failure; it is answered by null.
    """
    parts = score_apart(endpoint, rows, keys, version)
    endpoint.took(sum([part.nanos for part in parts]))
    return parts


def score_apart(
    endpoint: Endpoint, rows: Rows, keys: Sequence[str], version: Choice = 0
) -> list[Part]:
    """Score rows as `score` does, where nobody waits: how long it took says nothing of requests."""
    return _score(endpoint, rows, keys) if not version else [_by(endpoint, rows, version)]


def _score(endpoint: Endpoint, rows: Rows, keys: Sequence[str]) -> list[Part]:
    if endpoint.route is None:
        return [_live_part(endpoint, rows, None)]
    places = endpoint.route(keys)
    if not places or places.count(places[0]) == rows.count:
        return [_at(endpoint, places[0] if places else LIVE, rows, None)]
    found = np.frombuffer(places, dtype=np.uint8)
    parts = []
    for place in sorted(set(places)):
        index = np.flatnonzero(found == place).tolist()
        parts.append(_at(endpoint, place, take(rows, index), index))
    return parts


def _at(endpoint: Endpoint, place: int, rows: Rows, index: Sequence[int] | None) -> Part:
    """Return the part of the rows that fall to one place, see `routing`."""
    if place >= FIRST_ARM:
        name, arm = endpoint.arms[place - FIRST_ARM]
        return _other_part(endpoint, _ARM, arm, rows, index, name)
    if place == CANARY and endpoint.canary is not None:
        return _other_part(endpoint, _CANARY, endpoint.canary, rows, index)
    return _live_part(endpoint, rows, index)


def _by(endpoint: Endpoint, rows: Rows, choice: Choice) -> Part:
    if isinstance(choice, Tested):
        return _tested_part(endpoint, rows, choice)
    if choice == endpoint.live.version:
        return _live_part(endpoint, rows, None)
    canary = endpoint.canary
    if canary is not None and canary.version == choice:
        return _other_part(endpoint, _CANARY, canary, rows, None)
    for name, arm in endpoint.arms:
        if arm.version == choice:
            return _other_part(endpoint, _ARM, arm, rows, None, name)
    return _live_part(endpoint, rows, None)


def _tested_part(endpoint: Endpoint, rows: Rows, tested: Tested) -> Part:
    """Have the arm answer that a tester named; it may have gone while the request waited."""
    arm = arm_of(endpoint, tested.name) or endpoint.live
    part = replace(_part(_TEST, arm, rows, None), arm=tested.name)
    if part.scores is None and arm is endpoint.live:
        return replace(_rescued(endpoint, part), role=_TEST)
    return part


def record(
    endpoint: Endpoint, part: Part, ids: list[str], request_id: str, at_us: int, micros: int
) -> PredictionRecord:
    """Return the line of the log for one part."""
    mine = ids if part.index is None else [ids[i] for i in part.index]
    count = len(mine)
    answered = part.scores is not None
    numbers, told = endpoint.outputs.kept(part.given) if part.given else _NOTHING
    return PredictionRecord(
        at_us=at_us,
        model=endpoint.model,
        request_id=request_id,
        ids=mine,
        versions=[part.version] * count,
        roles=bytes((part.role,)) * count,
        columns=endpoint.inputs.numeric,
        values=part.rows.values.tobytes(),
        texts=_kept(part.rows),
        scores=b"" if part.scores is None else part.scores.tobytes(),
        status=part.status if part.failed else 0,
        micros=micros,
        fallback=bool(part.failed) and answered,
        failed=part.failed,
        arm=part.arm,
        nodes=_traced(endpoint, part),
        given_numbers=numbers,
        given_texts=told,
    )


def _traced(endpoint: Endpoint, part: Part) -> list[str]:
    """Return which nodes of a graph answered: once where it is the same for all rows."""
    name = endpoint.outputs.trace
    if name is None or not part.given or name not in part.given:
        return []
    told: list[str] = part.given[name].tolist()
    return told[:1] if told.count(told[0]) == len(told) else told


def _kept(rows: Rows) -> dict[str, list[str | None]]:
    """Return what the log has of the columns that are no numbers."""
    return {**rows.texts, **blobs.digests(rows.blobs)} if rows.blobs else rows.texts


def shadow(
    endpoint: Endpoint, part: Part, ids: list[str], request_id: str, at_us: int
) -> ShadowRecord | None:
    """Score a part's rows by the arm that did not answer them; None if there is none.

    What falls to an arm of a test, and what a tester asks, is no evidence of a release.
    """
    if part.role >= _ARM or part.arm:
        return None
    other = endpoint.live if part.role == _CANARY else (endpoint.canary or endpoint.shadow)
    if other is None or part.scores is None or part.failed:
        return None
    mine = ids if part.index is None else [ids[i] for i in part.index]
    scores, status = b"", 0
    began = perf_counter_ns()
    try:
        scores = other.score(part.rows).tobytes()
    except ModelFailed:
        status = 500
    micros = (perf_counter_ns() - began) // 1000
    return ShadowRecord(
        at_us=at_us,
        model=endpoint.model,
        request_id=request_id,
        ids=mine,
        versions=[other.version] * len(mine),
        scores=scores,
        status=status,
        micros=micros,
    )


def assemble(parts: Sequence[Part], count: int) -> tuple[list[float], list[int]]:
    """Return score and version of every row of the request, in its order."""
    if not parts:
        return [], []
    first = parts[0]
    if first.index is None:
        return _told(first), [first.version] * count
    scores, versions = [0.0] * count, [0] * count
    for part in parts:
        for i, value in zip(part.index or (), _told(part), strict=True):
            scores[i], versions[i] = value, part.version
    return scores, versions


def given(parts: Sequence[Part], specs: Sequence[OutputSpec], count: int) -> Given:
    """Return what the models gave besides scores, in the order of the rows."""
    if all(part.given is None for part in parts):
        return {}
    return merged(specs, [(part.index, part.given) for part in parts], count)


def arms(parts: Sequence[Part], count: int) -> list[str]:
    """Return the arm of every row, or its part in a release."""
    found = [""] * count
    for part in parts:
        name = part.arm or (Role.CANARY.value if part.role == _CANARY else Role.LIVE.value)
        for i in range(count) if part.index is None else part.index:
            found[i] = name
    return found


def _told(part: Part) -> list[float]:
    return [] if part.scores is None else part.scores.tolist()


def fell_back(parts: Sequence[Part]) -> bool:
    """Tell whether a baseline answered any row."""
    return any(
        part.role == _FALLBACK or (part.role == _TEST and part.failed and part.scores is not None)
        for part in parts
    )


def failure(parts: Sequence[Part]) -> str | None:
    """Return why the request cannot be answered, None if it can."""
    for part in parts:
        if part.scores is None:
            return part.why
    return None


def require_finite(model: str, parts: Sequence[Part]) -> None:
    """Refuse a request that nobody could answer and that has an infinite number.

    That is a fault of the request and tells nothing of the versions that failed: some models take
    infinity, and whoever sends it to one that does not should not be able to end a release.

    Raises:
        Invalid: If it is one.
    """
    for part in parts:
        if part.scores is None and np.isinf(part.rows.values).any():
            row = int(np.flatnonzero(np.isinf(part.rows.values).any(axis=1))[0])
            raise Invalid(
                f"row {row if part.index is None else part.index[row]} has an infinite number, "
                f"which the model {model!r} does not take",
                hint="send finite numbers; null or NaN stands for a missing value",
            )


def take(rows: Rows, index: Sequence[int]) -> Rows:
    """Return some rows."""
    texts = {name: [values[i] for i in index] for name, values in rows.texts.items()}
    held = {name: values[index] for name, values in rows.blobs.items()}
    return Rows(len(index), rows.values[index], texts, rows.absent, held)


def _part(role: int, arm: Arm, rows: Rows, index: Sequence[int] | None) -> Part:
    began = perf_counter_ns()
    try:
        scores, outputs = arm.answer(rows)
    except ModelFailed as error:
        nanos = perf_counter_ns() - began
        return Part(role, rows, index, None, arm.version, nanos, arm.version, str(error))
    nanos = perf_counter_ns() - began
    return Part(role, rows, index, scores, arm.version, nanos, given=outputs)


def _other_part(
    endpoint: Endpoint, role: int, arm: Arm, rows: Rows, index: Sequence[int] | None, name: str = ""
) -> Part:
    """Have a canary or an arm of a test answer; the live version stands in if it fails."""
    part = _part(role, arm, rows, index)
    if name:
        part = replace(part, arm=name)
    if part.scores is not None:
        return part
    other = _part(role, endpoint.live, rows, index)
    if other.scores is None:
        return _rescued(endpoint, part)
    return replace(
        other, nanos=part.nanos + other.nanos, failed=arm.version, why=part.why, arm=name
    )


def _live_part(endpoint: Endpoint, rows: Rows, index: Sequence[int] | None) -> Part:
    part = _part(endpoint.role, endpoint.live, rows, index)
    return part if part.scores is not None else _rescued(endpoint, part)


def _rescued(endpoint: Endpoint, part: Part) -> Part:
    """Have the live version's baseline answer a part that nobody could; else as it was."""
    baseline = endpoint.live.fallback
    if baseline is None:
        return part
    answer = _part(_FALLBACK, baseline, part.rows, part.index)
    if answer.scores is None:
        return part
    return Part(
        role=_FALLBACK,
        rows=part.rows,
        index=part.index,
        scores=answer.scores,
        version=endpoint.live.version,
        nanos=part.nanos + answer.nanos,
        failed=part.failed,
        why=part.why,
        given=answer.given,
        arm=part.arm,
    )
