"""Tables in a request and in an answer: CSV, JSON by lines, Parquet, Arrow."""

import csv
import io
import re
from collections.abc import Collection, Sequence
from math import prod
from operator import itemgetter
from typing import Any

import msgspec

from setpoint.errors import Invalid
from setpoint.serve import columns, outputs, v2
from setpoint.serve.decoding import too_deep
from setpoint.serve.prediction import Predicted

PARQUET, ARROW = "parquet", "arrow"
MOST_VALUES = 5_000_000  #: of a table: as many numbers as a body of JSON may have
#: The formats of tables, by content type.
TABLES = {
    "application/x-parquet": PARQUET,
    "application/vnd.apache.parquet": PARQUET,
    "application/vnd.apache.arrow.stream": ARROW,
}
#: What stands for a missing number in CSV, as pandas reads it; a text may be any of them.
_MISSING = frozenset(("", "na", "n/a", "<na>", "null", "none", "#n/a", "#na"))
_JSON = "application/json"
_RANGES = {"*/*": _JSON, "application/*": _JSON, "text/*": "text/csv"}
_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?")
LINES = {"application/jsonlines", "application/jsonl", "application/x-jsonlines"}
_encoder = msgspec.json.Encoder()


def from_csv(body: bytes, inputs: v2.Inputs) -> v2.Rows:
    """Read CSV with a line of names, as MLflow has it, or without one, as SageMaker does."""
    try:
        text = io.StringIO(body.decode("utf-8-sig"))
        lines = [row for row in csv.reader(text, strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        hint = "send UTF-8, commas, one row a line"
        raise Invalid(f"the body is no CSV: {error}", hint=hint) from None
    if not lines:
        raise Invalid("the body is empty", hint="send CSV, one row a line")
    names = lines[0]
    if set(names) & inputs.names:
        data = lines[1:]
    else:
        names, data = inputs.required, lines
    for i, row in enumerate(data):
        if len(row) != len(names):
            raise Invalid(
                f"row {i} has {len(row)} values for {len(names)} columns",
                where=f"line {i + 1 + len(lines) - len(data)}",
                hint=f"send {', '.join(names)} in this order",
            )
    texts = {known.name for known in inputs.specs if known.text}
    named = {
        name: [_cell(row[i], text=name in texts) for row in data] for i, name in enumerate(names)
    }
    return columns.from_columns(known(named, inputs), inputs, "$", count=len(data))


def known(named: dict[str, Any], inputs: v2.Inputs) -> dict[str, Any]:
    """Return the columns of a data frame that are inputs: others are left out, as MLflow does.

    Where none is, all stay: then it is no data frame for this model, and that is said.
    """
    found = {name: values for name, values in named.items() if name in inputs.names}
    return found or named


def _cell(value: str, *, text: bool) -> str | float | None:
    if not value:
        return None
    if text:
        return value
    lowered = value.strip().lower()
    if lowered in _MISSING:
        return None
    if lowered in {"true", "false"}:
        return float(lowered == "true")
    try:
        return float(value)
    except ValueError:
        return value  # not a number: said where the column is read


def from_lines(body: bytes, inputs: v2.Inputs) -> v2.Rows:
    """Read one row a line: an object, an array, or ``{"features": [...]}``."""
    try:
        rows = msgspec.json.Decoder().decode_lines(body)
    except RecursionError:
        raise too_deep("body") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "send one row a line"
        raise Invalid(f"the body is no JSON by lines: {error}", hint=hint) from None
    return columns.from_instances([_unwrapped(row) for row in rows], inputs, "$")


def _unwrapped(row: Any) -> Any:
    return row["features"] if isinstance(row, dict) and row.keys() == {"features"} else row


def from_table(body: bytes, kind: str, inputs: v2.Inputs) -> v2.Rows:
    """Read a table; columns that are no inputs are left out. To be called by `aside` alone.

    Raises:
        Invalid: If it is no such table, or does not fit the model.
    """
    pl = _polars()
    try:
        named, count = _columns(body, kind, inputs.names, pl)
    except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - foreign bytes
        why = " ".join(str(error).split())[:200]
        raise Invalid(f"the body is no {kind.capitalize()}: {why}") from None
    return columns.from_columns(named, inputs, "$", count=count)


def _columns(
    body: bytes, kind: str, names: Collection[str], pl: Any
) -> tuple[dict[str, list[Any]], int]:
    """Return the columns of a table that have these names, and how many rows it has."""
    if kind == PARQUET:  # told before it is unpacked
        lazy = pl.scan_parquet(io.BytesIO(body))
        wanted = [name for name in lazy.collect_schema().names() if name in names]
        count = lazy.select(pl.len()).collect().item()
        _require_few(count, len(wanted))
        frame = pl.read_parquet(io.BytesIO(body), columns=wanted) if wanted else pl.DataFrame()
    else:
        frame = pl.read_ipc_stream(io.BytesIO(body))
        wanted = [name for name in frame.columns if name in names]
        count = frame.height
        _require_few(count, len(wanted))
    return {name: frame[name].to_list() for name in wanted}, count


def _require_few(rows: int, width: int) -> None:
    if rows * max(width, 1) > MOST_VALUES:
        raise ValueError(f"it has {rows:,} rows, more than {MOST_VALUES:,} values")


def written(accept: str, predicted: Predicted) -> tuple[bytes, bytes]:
    """Return the body and its type: JSON, or what is asked for."""
    wanted, told = _wanted(accept), predicted.told()
    if wanted == "text/csv":
        return _csv(told), b"text/csv"
    if wanted in LINES:
        name = told[0][0].name
        found = [each if isinstance(each, dict) else {name: each} for each in outputs.rows(told)]
        return _encoder.encode_lines(found), b"application/jsonlines"
    if wanted in TABLES:
        return _table(told, TABLES[wanted]), wanted.encode()
    return v2.encode({"predictions": outputs.rows(told)}), b"application/json"


def _wanted(accept: str) -> str:
    """Return what is asked for most of what there is; JSON where nothing of it is (RFC 9110)."""
    if not accept or accept == "*/*":
        return _JSON
    ranked: list[tuple[float, str]] = []
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        said = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        weight = float(said) if _WEIGHT.fullmatch(said) else 1.0
        kind = _RANGES.get(kind, kind)
        if weight and kind in {_JSON, "text/csv", *LINES, *TABLES}:
            ranked.append((weight, kind))
    return max(ranked, key=itemgetter(0), default=(1.0, _JSON))[1]


def _csv(told: Sequence[outputs.Told]) -> bytes:
    """Return a line a row, without names; of several outputs one after the other, tensors flat."""
    cells: list[list[Any]] = []
    for _, values in told:
        flat = values.reshape(len(values), prod(values.shape[1:]))
        cells += [outputs.plain(flat[:, at]) for at in range(flat.shape[1])]
    if len(cells) == 1 and told[0][0].datatype != "BYTES":
        return "".join(f"{_said(value)}\n" for value in cells[0]).encode()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_said(value) for value in row] for row in zip(*cells, strict=True))
    return text.getvalue().encode()


def _said(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN alone is not itself
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _table(told: Sequence[outputs.Told], kind: str) -> bytes:
    pl = _polars()
    frame = pl.DataFrame(
        [
            pl.Series(spec.name, values.tolist() if values.dtype == object else values)
            for spec, values in told
        ]
    )
    found = io.BytesIO()
    if kind == PARQUET:
        frame.write_parquet(found)
    else:
        frame.write_ipc_stream(found)
    return found.getvalue()


def _polars() -> Any:
    try:
        import polars as pl  # noqa: PLC0415 - heavy, and most requests are JSON
    except ModuleNotFoundError:  # in an image, which has what its model needs
        raise _no_tables() from None
    return pl


def _no_tables() -> Invalid:
    hint = "send application/json or text/csv, or build it with: setpoint build --with parquet"
    return Invalid("this server does not read Parquet and Arrow", hint=hint)
