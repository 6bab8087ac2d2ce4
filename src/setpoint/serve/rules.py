"""What a line of the log means for the index. Pure."""

import math
import struct

from setpoint.serve.entities import PredictionRecord, PredictionRow, Role, ShadowRecord

ROLES = (Role.LIVE, Role.CANARY, Role.FALLBACK)  #: by the byte in `PredictionRecord.roles`


def scores(record: PredictionRecord | ShadowRecord) -> list[float | None]:
    """Return the score of every row; None where the model could not answer the row.

    Empty if the version failed.
    """
    values = struct.unpack(f"<{len(record.scores) // 8}d", record.scores)
    return [None if math.isnan(value) else value for value in values]


def index_rows(record: PredictionRecord) -> list[PredictionRow]:
    """Return the rows of the index for an answered record; none if nobody answered."""
    return [
        PredictionRow(record.model, id_, version, ROLES[role].value, record.at_us, score)
        for id_, version, role, score in zip(
            record.ids, record.versions, record.roles, scores(record), strict=False
        )
    ]
