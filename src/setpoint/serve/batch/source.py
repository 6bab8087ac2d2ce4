"""The rows of a batch: files found, their columns checked, read chunk by chunk."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import polars as pl
from polars.exceptions import ColumnNotFoundError, ComputeError, PolarsError

from setpoint.errors import Invalid, NotFound, SetpointError, Unavailable
from setpoint.serve import columns, tensors, v2
from setpoint.serve.batch.entities import Asked, File, Source

#: Makes the inputs of a model of rows of a table.
Features = Callable[[pl.DataFrame], pl.DataFrame]

_KINDS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv"}
_TEXTS = (pl.String, pl.Categorical, pl.Enum, pl.Null)
_INFERRED = 10_000  #: lines of a CSV file that decide what columns nobody asks for hold


def files_at(said: str) -> Source:
    """Return a file, or the Parquet files of a folder and those below it, by name.

    Raises:
        NotFound: If there is none.
        Invalid: If it is neither Parquet nor CSV, by its name.
    """
    path = Path(said)
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
        if not files:
            raise NotFound(f"the folder {said} has no Parquet files", hint="*.parquet is read")
        return Source(said=said, kind="parquet", files=[_file(each) for each in files])
    if not path.exists():
        raise NotFound(f"there is no file {said}", hint="a Parquet or CSV file, or a folder")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise Invalid(
            f"{said} is neither Parquet nor CSV, by its name",
            hint="name it .parquet or .csv",
        )
    return Source(said=said, kind=kind, files=[_file(path)])


def dataset_at(said: str, dataset: str, number: int, uris: Sequence[str]) -> Source:
    """Return a version of a dataset, whose files are at `uris`."""
    files = [_file(Path(uri.removeprefix("file://"))) for uri in sorted(uris)]
    return Source(said=said, kind="parquet", files=files, dataset=dataset, number=number)


def columns_of(source: Source) -> list[str]:
    """Return the names of the columns, none where they cannot be told."""
    paths = [file.path for file in source.files[:1]]
    try:
        if source.kind == "csv":
            return list(pl.scan_csv(paths, glob=False, infer_schema_length=0).collect_schema())
        return list(pl.scan_parquet(paths, glob=False).collect_schema())
    except (PolarsError, OSError):
        return []


def require_unchanged(source: Source) -> None:
    """Refuse files that are not what they were.

    Raises:
        Invalid: If one changed; says which.
    """
    for file in source.files:
        if _file(Path(file.path)) != file:
            raise Invalid(f"{file.path} changed while it was read", hint="run it again")


def _file(path: Path) -> File:
    try:
        found = path.stat()
    except OSError as error:
        raise Unavailable(f"{path} cannot be read", where=error.strerror or "") from None
    return File(str(path.absolute()), found.st_size, found.st_mtime_ns)


class Table:
    """The rows of a source, as a model with these inputs reads them."""

    def __init__(self, asked: Asked, inputs: v2.Inputs, features: Features | None = None) -> None:
        """Look at the columns; no row is read.

        Args:
            asked: Says which columns are needed.
            inputs: What the model takes.
            features: What makes it of rows; None: the table has it.

        Raises:
            Invalid: If an input is missing or of another type, a column that is asked for
                is missing, or a file is no Parquet or CSV.
        """
        self._source, self._inputs, self._features = asked.source, inputs, features
        texts = {spec.name for spec in inputs.specs if spec.text}
        texts |= {name for name in (asked.id, asked.prediction_id) if name}
        if not asked.source.files:
            raise NotFound(f"{asked.source.said} has no rows")
        try:
            self._frame = self._scan(texts)
            self.schema = self._frame.collect_schema()
        except (PolarsError, OSError) as error:
            raise self._in_words(error) from None
        self._check_ids(asked)
        if features is None:
            self._check_inputs(self.schema)
        needed = {asked.id, asked.prediction_id, *inputs.names}
        everything = asked.keep or features is not None
        self._columns = [name for name in self.schema if everything or name in needed]

    def count(self) -> int:
        """Return the number of rows; reads the files' ends, or a CSV file once."""
        try:
            return int(self._frame.select(pl.len()).collect(engine="streaming").item())
        except (PolarsError, OSError) as error:
            raise self._in_words(error) from None

    def chunks(self, start: int, stop: int, size: int) -> Iterator[pl.DataFrame]:
        """Yield the rows from `start` to before `stop`, `size` at a time, the last maybe fewer.

        Where there are none, one frame without rows.

        Raises:
            Invalid: If a value is not what its column should hold.
        """
        asked = self._frame.select(self._columns).slice(start, stop - start)
        held: list[pl.DataFrame] = []
        waiting = given = 0
        try:
            for frame in asked.collect_batches(chunk_size=size, maintain_order=True, lazy=True):
                held.append(frame)
                waiting += len(frame)
                while waiting >= size:
                    whole = pl.concat(held) if len(held) > 1 else held[0]
                    yield whole[:size]
                    held, waiting, given = [whole[size:]], waiting - size, given + size
            if waiting or not given:
                yield pl.concat(held) if held else asked.clear().collect()
        except (PolarsError, OSError) as error:
            raise self._in_words(error) from None

    def rows(self, frame: pl.DataFrame) -> v2.Rows:
        """Return rows as a request has them.

        Raises:
            Invalid: If the features are not what the model takes.
            UserCodeFailed: If a function that makes them raises.
        """
        if self._features is not None:
            frame = self._features(frame)
            self._check_inputs(frame.schema)
        if any(spec.blob for spec in self._inputs.specs):
            named = {spec.name: frame[spec.name].to_list() for spec in self._inputs.specs}
            where = self._source.said
            return columns.from_columns(named, self._inputs, where, count=len(frame))
        numbers = frame.select(pl.col(name).cast(pl.Float64) for name in self._inputs.numeric)
        texts: dict[str, list[str | None]] = {
            spec.name: frame[spec.name].cast(pl.String).to_list()
            for spec in self._inputs.specs
            if spec.text
        }
        return v2.Rows(len(frame), numbers.to_numpy(order="c"), texts)

    def _scan(self, texts: set[str]) -> pl.LazyFrame:
        paths = [file.path for file in self._source.files]
        if self._source.kind == "parquet":
            return pl.scan_parquet(
                paths,
                glob=False,
                hive_partitioning=any("=" in Path(path).parent.name for path in paths),
                missing_columns="insert",
            )
        read = partial(
            pl.scan_csv, paths, glob=False, infer_schema_length=_INFERRED, try_parse_dates=True
        )
        first = read().collect_schema()
        known: dict[str, pl.DataType] = {name: pl.String() for name in texts if name in first}
        if self._features is None:
            for name in self._inputs.numeric:
                if name in first and (first[name].is_numeric() or first[name] == pl.Null):
                    known[name] = pl.Float64()
        return read(schema_overrides=known)

    def _check_inputs(self, schema: pl.Schema) -> None:
        said = self._source.said
        inputs = {name: None for name in schema if name in self._inputs.names}
        tensors.check_names(inputs, self._inputs, said)
        for spec in self._inputs.specs:
            if spec.blob:
                continue  # tensors and bytes are looked at row by row
            dtype = schema[spec.name]
            numeric = dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)
            if spec.text and not isinstance(dtype, _TEXTS) and dtype not in _TEXTS:
                raise Invalid(
                    f"the input {spec.name!r} is text, not {dtype}",
                    where=f"{said}, column {spec.name!r}",
                    hint="cast it to text; null stands for a missing value",
                )
            if not spec.text and not numeric:
                raise Invalid(
                    f"the input {spec.name!r} is numeric, not {dtype}",
                    where=f"{said}, column {spec.name!r}",
                    hint="cast it to a number; null stands for a missing value",
                )

    def _check_ids(self, asked: Asked) -> None:
        for option, name in (("--id", asked.id), ("--prediction-id", asked.prediction_id)):
            if name is not None and name not in self.schema:
                raise Invalid(
                    f"there is no column {name!r} for {option}",
                    where=asked.source.said,
                    hint=f"its columns: {', '.join(self.schema)[:300]}",
                )

    def _in_words(self, error: Exception) -> SetpointError:
        said = " ".join(str(error).partition("\n")[0].split())[:300]
        if isinstance(error, FileNotFoundError):
            return NotFound(f"a file of {self._source.said} is gone", where=said)
        if isinstance(error, OSError):
            return Unavailable(f"{self._source.said} cannot be read", where=said)
        hint = "numbers, and nothing where a value is missing"
        if not isinstance(error, ComputeError | ColumnNotFoundError):
            hint = "every file has the same columns"
        if self._source.kind == "parquet":
            hint = "is it whole, and Parquet? every file has the same columns"
        return Invalid(f"{self._source.said} cannot be read", where=said, hint=hint)


def clash(kept: Sequence[str], made: Sequence[str]) -> None:
    """Refuse columns of the input that are named as the output's own.

    Raises:
        Invalid: If there is one.
    """
    both = [name for name in kept if name in made]
    if both:
        raise Invalid(
            f"the input has a column {both[0]!r}, which the output has as well",
            hint="rename it, or leave out --keep-columns",
        )
