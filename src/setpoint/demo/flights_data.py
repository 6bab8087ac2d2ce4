"""The year as it is replayed: what is asked each hour, and when each truth becomes known.

Features are computed once for all rows, which is legal because the join is point-in-time:
a row's features are the same whether its future is in the tables or not. A test proves it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from msgspec import Struct

from setpoint.core.clock import to_micros
from setpoint.data.features import View, build

HOUR = timedelta(hours=1)
END = datetime(2014, 1, 3, tzinfo=UTC)  #: everything is known by then


class Hour(Struct, frozen=True, kw_only=True):
    """The flights whose scheduled departure is in [`at`, `at` + 1 h)."""

    at: datetime  #: UTC, a whole hour
    ids: list[str]  #: of n flights, by scheduled departure
    times: np.ndarray  #: int64, n: scheduled departure in microseconds since 1970
    features: np.ndarray  #: float64, n × k, in the order of `Replay.columns`; NaN is missing


class Labels(Struct, frozen=True, kw_only=True):
    """Truths of asked flights, by the time at which they become known."""

    ids: list[str]
    labels: np.ndarray  #: float64: 1 late, 0 not
    known_at: np.ndarray  #: int64: microseconds since 1970, not decreasing


class Replay:
    """Rows and labels of [`start`, `until`) in order of time.

    Args:
        tables: The project's sources by name, complete (``known by END``).
        views: The model's features, in the order of its spec.
        start: Flights scheduled before are not asked.
        until: Nor those scheduled then or later.

    Raises:
        UserCodeFailed: If a feature function fails.
    """

    def __init__(
        self,
        tables: dict[str, pl.DataFrame],
        views: list[View],
        start: datetime,
        until: datetime,
    ) -> None:
        departure = pl.col("scheduled_departure")
        rows = (
            tables["flights"]
            .filter((departure >= start) & (departure < until))
            .sort("scheduled_departure", "flight_id")
        )
        built = build(rows, views, tables, "scheduled_departure")
        self.columns = built.columns
        self._features = built.cast(pl.Float64).fill_null(np.nan).to_numpy()
        self._ids = rows["flight_id"]
        self._times = rows["scheduled_departure"].dt.epoch("us").to_numpy()
        self._late = rows["late"].cast(pl.Float64)
        known = rows.select("flight_id", "late", "known_at").drop_nulls("late")
        known = known.sort("known_at", "flight_id")
        self._truth_ids = known["flight_id"]
        self._truths = known["late"].cast(pl.Float64).to_numpy()
        self._known = known["known_at"].dt.epoch("us").to_numpy()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def labelled(self) -> int:
        """How many of the rows ever get a label."""
        return len(self._truth_ids)

    def hours(self, start: datetime | None = None) -> Iterator[Hour]:
        """Yield each hour in which a flight departs, from the hour of `start` on."""
        width = HOUR // timedelta(microseconds=1)
        hour_of = self._times // width
        bounds = np.flatnonzero(np.diff(hour_of, prepend=-1))
        for low, high in zip(bounds, [*bounds[1:], len(self)], strict=True):
            at = datetime.fromtimestamp(int(hour_of[low]) * 3600, UTC)
            if start is None or at + HOUR > start:
                yield Hour(
                    at=at,
                    ids=self._ids[low:high].to_list(),
                    times=self._times[low:high],
                    features=self._features[low:high],
                )

    def labels(self, after: datetime, to: datetime) -> Labels:
        """Return the truths that become known in (`after`, `to`]."""
        low, high = np.searchsorted(self._known, [to_micros(after), to_micros(to)], "right")
        return Labels(
            ids=self._truth_ids[low:high].to_list(),
            labels=self._truths[low:high],
            known_at=self._known[low:high],
        )

    def ids(self) -> list[str]:
        """Return the id of every row in the order they are asked."""
        return self._ids.to_list()

    def truth(self) -> np.ndarray:
        """Return the label of every row in the order they are asked; NaN: never known."""
        return self._late.fill_null(np.nan).to_numpy()

    def matrix(self) -> np.ndarray:
        """Return the features of every row in the order they are asked, float64 n × k."""
        return self._features

    def months(self) -> np.ndarray:
        """Return the calendar month (New York) of every row in the order they are asked."""
        local = pl.from_epoch(pl.Series(self._times), time_unit="us").dt.replace_time_zone("UTC")
        found: np.ndarray = local.dt.convert_time_zone("America/New_York").dt.month().to_numpy()
        return found
