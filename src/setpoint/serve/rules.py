"""What may be deployed together, and what a line of the log means for the index. Pure."""

import math
import struct
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from setpoint.errors import Invalid
from setpoint.serve.entities import Deployment, PredictionRecord, PredictionRow, Role, ShadowRecord

ROLES = (
    Role.LIVE,
    Role.CANARY,
    Role.FALLBACK,
    Role.BATCH,
    Role.NAMED,
    Role.ARM,
    Role.TEST,
)  #: by the byte in `PredictionRecord.roles`


def scores(record: PredictionRecord | ShadowRecord) -> list[float | None]:
    """Return the score of every row; None where the model could not answer the row.

    Empty if the version failed.
    """
    values = struct.unpack(f"<{len(record.scores) // 8}d", record.scores)
    return [None if math.isnan(value) else value for value in values]


def index_rows(record: PredictionRecord) -> list[PredictionRow]:
    """Return the rows of the index for an answered record; none if nobody answered."""
    return [
        PredictionRow(
            record.model, id_, version, ROLES[role].value, record.at_us, score, record.arm or None
        )
        for id_, version, role, score in zip(
            record.ids, record.versions, record.roles, scores(record), strict=False
        )
    ]


def only(record: PredictionRecord, keep: Sequence[int]) -> PredictionRecord:
    """Return a record with some of its rows."""
    count = len(record.ids)
    return replace(
        record,
        ids=[record.ids[i] for i in keep],
        versions=[record.versions[i] for i in keep],
        roles=bytes(record.roles[i] for i in keep),
        values=_of(record.values, count, keep),
        texts={name: [texts[i] for i in keep] for name, texts in record.texts.items()},
        scores=_of(record.scores, count, keep),
        given_numbers={name: _of(each, count, keep) for name, each in record.given_numbers.items()},
        given_texts={name: [each[i] for i in keep] for name, each in record.given_texts.items()},
        nodes=[record.nodes[i] for i in keep] if len(record.nodes) > 1 else record.nodes,
    )


def only_shadow(record: ShadowRecord, keep: Sequence[int]) -> ShadowRecord:
    """Return a record of the other arm's scores with some of its rows."""
    return replace(
        record,
        ids=[record.ids[i] for i in keep],
        versions=[record.versions[i] for i in keep],
        scores=_of(record.scores, len(record.ids), keep),
    )


def _of(packed: bytes, count: int, keep: Sequence[int]) -> bytes:
    """Return some rows of numbers packed row by row; nothing of nothing."""
    if not packed:
        return b""
    found: bytes = np.frombuffer(packed).reshape(count, -1)[list(keep)].tobytes()
    return found


_NEVER = (Role.FALLBACK, Role.BATCH, Role.NAMED, Role.ARM, Role.TEST)  #: deployed by a release


def check(model: str, wanted: Sequence[Deployment]) -> None:
    """Refuse deployments that make no endpoint.

    Raises:
        Invalid: If there is not exactly one live version, a version comes twice, or a
            weight is no share.
    """
    live = [one.version for one in wanted if one.role is Role.LIVE]
    if wanted and len(live) != 1:
        raise Invalid(f"{len(live)} live versions of {model!r}", hint="deploy exactly one")
    if len({one.version for one in wanted}) != len(wanted):
        raise Invalid(f"a version of {model!r} is deployed twice", hint="one role a version")
    for role in (Role.CANARY, Role.SHADOW):
        if sum(one.role is role for one in wanted) > 1:
            raise Invalid(f"two {role} versions of {model!r}", hint="one release at a time")
    for one in wanted:
        if one.model != model or not 0 <= one.weight <= 1 or one.role in _NEVER:
            raise Invalid(f"cannot deploy {one} behind {model!r}", hint="weights are 0 to 1")
