"""A chunk of rows, scored as a request is: guarded, with its version's baseline to fall back on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import Any

import polars as pl
from msgspec import structs

from setpoint.config import Settings
from setpoint.core.clock import to_micros
from setpoint.errors import SetpointError, Unavailable
from setpoint.models.explaining.explainer import Explainer
from setpoint.serve import outputs, scoring, v2
from setpoint.serve.batch.entities import Plan
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import (
    BatchRecord,
    CountRecord,
    Deployment,
    Described,
    EndpointSettings,
    Names,
    PredictionRecord,
    Role,
    Wanted,
)
from setpoint.serve.following import Endpoints
from setpoint.serve.keeping import Keeping
from setpoint.serve.metrics import Metrics
from setpoint.serve.protocols import Due, Predictor
from setpoint.serve.protocols import Source as Versions
from setpoint.serve.registered import from_store
from setpoint.serve.rules import ROLES
from setpoint.serve.v2 import Rows

_MADE = ("prediction_id", "version", "at", "fallback")  #: columns of every output
_RECORD_ROWS = 5_000  #: of a line of the log
_CHUNK_BYTES = 16 << 20  #: that the inputs of a chunk take, about
_CHUNK_ROWS = 50_000
_ROLE = bytes((ROLES.index(Role.BATCH),))
_DTYPES: dict[str, type[pl.DataType]] = {
    "BOOL": pl.Boolean,
    "BYTES": pl.String,
    "FP16": pl.Float32,
    "FP32": pl.Float32,
    "FP64": pl.Float64,
    **{f"INT{bits}": getattr(pl, f"Int{bits}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": getattr(pl, f"UInt{bits}") for bits in (8, 16, 32, 64)},
}


class Pinned:
    """One version, live, whatever its store deploys."""

    def __init__(
        self,
        versions: Versions,
        model: str,
        version: int,
        settings: EndpointSettings = EndpointSettings(),  # noqa: B008 - frozen
    ) -> None:
        self._versions = versions
        self._settings = settings
        self._only = Deployment(model=model, version=version, role=Role.LIVE, weight=1.0)

    def deployed(self, due: Due) -> tuple[dict[str, int], dict[str, Wanted]]:
        model = self._only.model
        wanted = Wanted(deployments=[self._only], settings=self._settings)
        return {model: 1}, dict.fromkeys(due({model: 1}), wanted)

    def loader(self, model: str, version: int) -> Callable[[], Predictor]:
        return self._versions.loader(model, version)

    def baseline(self, model: str, version: int) -> Predictor | None:
        return self._versions.baseline(model, version)

    def background(self, model: str, version: int) -> Any:
        return self._versions.background(model, version)

    def described(self, versions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Described]:
        return self._versions.described(versions)

    def names(self, policies: Mapping[str, str]) -> dict[str, Names]:  # noqa: ARG002
        return {}

    def kept(self, address: str) -> bytes:
        return self._versions.kept(address)

    def explainer(self, model: str, version: int, predictor: Predictor) -> Explainer:
        return self._versions.explainer(model, version, predictor)


def loaded(settings: Settings, model: str, version: int) -> Endpoint:
    """Return a version in memory, with its baseline.

    Raises:
        Unavailable: If it does not load.
    """
    with closing(from_store(settings)) as versions:
        known = versions.settings(model)
        settings_ = EndpointSettings(
            redact=known.redact,
            fallback_value=known.fallback_value,
            fallback_code=known.fallback_code,
            sample=known.sample,
        )
        endpoints = Endpoints(Pinned(versions, model, version, settings_), Metrics())
        endpoints.refresh()
    endpoint = endpoints.all()[model]
    if endpoint.broken is not None:
        raise Unavailable(f"the model {model!r} cannot answer: {endpoint.broken}")
    return endpoint


def chunk_rows(inputs: v2.Inputs) -> int:
    """Return how many rows to score at once: few enough to hold several chunks in memory."""
    width = 8 * len(inputs.numeric) + 64 * (len(inputs.specs) - len(inputs.numeric)) + 64
    return max(1_000, min(_CHUNK_ROWS, _CHUNK_BYTES // width))


def score(endpoint: Endpoint, rows: v2.Rows) -> scoring.Part | None:
    """Score rows; None where there are none.

    Raises:
        SetpointError: If neither the version nor its baseline could.
    """
    if not rows.count:
        return None
    (part,) = scoring.score_apart(endpoint, rows, ())
    if part.scores is None:
        raise SetpointError(
            f"the model {endpoint.model!r} failed: {part.why}",
            hint="nothing of these rows was written or logged; what was done before is kept",
        )
    return part


def ids_of(plan: Plan, first: int, frame: pl.DataFrame) -> list[str]:
    """Return the prediction ids of rows, the first of which is row `first` of the input.

    Raises:
        Invalid: If the input's own ids cannot be ids, or one comes twice.
    """
    column = plan.asked.prediction_id
    if column is None:
        return [f"{plan.id}.{first + i}" for i in range(len(frame))]
    ids = [text or "" for text in frame[column].cast(pl.String).to_list()]
    v2.check_ids(ids, f"column {column!r}, from row {first}", unique=True)
    return ids


def output(
    plan: Plan, endpoint: Endpoint, frame: pl.DataFrame, ids: Sequence[str], at: datetime,
    part: scoring.Part | None,
) -> pl.DataFrame:  # fmt: skip
    """Return rows of the output: the input's, as far as they were asked for, and the scores."""
    kept = frame.columns if plan.asked.keep else [plan.asked.id] if plan.asked.id else []
    columns = [
        *(frame[name] for name in kept),
        pl.Series("prediction_id", ids, dtype=pl.String),
        *_told(endpoint, part),
        pl.repeat(plan.version, len(frame), dtype=pl.Int64, eager=True).alias("version"),
        pl.repeat(at, len(frame), dtype=pl.Datetime("us", "UTC"), eager=True).alias("at"),
    ]
    if endpoint.live.fallback is not None:
        failed = part is not None and bool(part.failed)
        columns.append(pl.repeat(failed, len(frame), eager=True).alias("fallback"))
    return pl.DataFrame(columns)


def _told(endpoint: Endpoint, part: scoring.Part | None) -> Iterator[pl.Series]:
    """Yield what is answered unasked, an output a column; null where there is no answer."""
    known = endpoint.outputs
    if part is None or part.scores is None:
        yield from (pl.Series(spec.name, [], dtype=_dtype(spec)) for spec in known.default)
        return
    if known.only_score:
        yield pl.Series(outputs.SCORE, part.scores).fill_nan(None)
        return
    given = scoring.given([part], known.given, part.rows.count)
    for spec, values in known.told(known.default, part.scores.tolist(), given):
        dtype = _dtype(spec)
        exact = values.ndim == 1 and values.dtype != object
        column = pl.Series(spec.name, values if exact else outputs.plain(values), strict=False)
        column = column.cast(dtype, strict=False)
        yield column.fill_nan(None) if dtype.is_float() else column


def _dtype(spec: outputs.OutputSpec) -> pl.DataType:
    """Return the type of an output's column: tensors are lists, bytes text in base 64."""
    dtype: pl.DataType = _DTYPES.get(spec.datatype, pl.Float64)()
    for _ in spec.shape:
        dtype = pl.List(dtype)
    return dtype


def made(endpoint: Endpoint) -> list[str]:
    """Return the names of the columns of the output that are not the input's."""
    return [*(spec.name for spec in endpoint.outputs.default), *_MADE]


def records(
    endpoint: Endpoint, part: scoring.Part, ids: list[str], request_id: str, at: datetime
) -> Iterator[BatchRecord | CountRecord]:
    """Yield the lines of the log for rows that were scored: of those in its sample, and counts."""
    kept = endpoint.keeping
    for start in range(0, len(ids), _RECORD_ROWS):
        mine = ids[start : start + _RECORD_ROWS]
        stop = start + len(mine)
        held = Rows(
            len(mine),
            part.rows.values[start:stop],
            {name: texts[start:stop] for name, texts in part.rows.texts.items()},
            blobs={name: values[start:stop] for name, values in part.rows.blobs.items()},
        )
        scores = None if part.scores is None else part.scores[start:stop]
        given = part.given and {name: each[start:stop] for name, each in part.given.items()}
        piece = structs.replace(part, rows=held, scores=scores, given=given)
        micros = part.nanos * len(mine) // len(ids) // 1000
        one = scoring.record(endpoint, piece, mine, request_id, to_micros(at), micros)
        if not part.failed:
            one = structs.replace(one, roles=_ROLE * len(mine))
        if kept is None:
            yield BatchRecord(**structs.asdict(one))
        else:
            yield _kept(kept, one)


def _kept(keeping: Keeping, record: PredictionRecord) -> BatchRecord | CountRecord:
    """Return what is written down of a record, or how many rows that leaves out."""
    found = keeping.kept(record)
    if found is not None:
        return BatchRecord(**structs.asdict(found))
    return CountRecord(
        at_us=record.at_us,
        model=record.model,
        version=record.versions[0],
        role=record.roles[0],
        requests=1,
        rows=len(record.ids),
    )
