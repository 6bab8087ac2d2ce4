"""What MLflow's server refuses: names, lengths and sizes, in the words its clients expect."""

import posixpath
import re

from setpoint.server.mlflow.errors import Refused, described, missing

KEY = 250  #: characters of a param's, metric's or tag's name
PARAM = 6_000
RUN_TAG = 8_000
EXPERIMENT_NAME = 500
EXPERIMENT_TAG = 20_000
BATCH_METRICS = 1_000
BATCH_VALUES = 100  #: params of a batch, and tags
BATCH = 1_000  #: of everything together
LAST_MILLISECOND = 253_402_300_799_999  #: the end of the year 9999

_NAME = re.compile(r"[/\w.\- :]*")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")
_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.),"
    " spaces ( ), colon(:) and slashes (/)."
)
_PATHS = "Names may be treated as files in certain cases, and must not resolve to other names"


def name(key: str, path: str) -> None:
    """Refuse the name of a metric, param or tag; `path` is where it stands in the request."""
    if not _NAME.fullmatch(key):
        raise Refused(f"{described(path, key)} {_CHARACTERS}")
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        resolved = f"{_PATHS} when treated as such. This name would resolve to {plain!r}"
        raise Refused(f"{described(path, key)} {resolved}")


def length(what: str, value: str, limit: int) -> None:
    """Refuse text that is longer than `limit` characters."""
    if len(value) > limit:
        raise Refused(f"'{what}' exceeds the maximum length of {limit} characters")


def metric(key: str, timestamp: int, path: str) -> None:
    """Refuse a metric's name or a time that no calendar has."""
    if not key:
        raise missing(f"{path}key")
    name(key, f"{path}name")
    if not 0 <= timestamp <= LAST_MILLISECOND:
        raise Refused(
            f"{described(f'{path}timestamp', timestamp)} metric '{key}'. "
            "Timestamp must be a nonnegative long (64-bit integer) of milliseconds"
        )
    length("Metric name", key, KEY)


def param(key: str, value: str, path: str) -> None:
    """Refuse a param's name or a value that is too long."""
    name(key, f"{path}key")
    length("Param key", key, KEY)
    length("Param value", value, PARAM)


def tag(key: str, value: str, path: str, limit: int = RUN_TAG) -> None:
    """Refuse a tag's name or a value that is too long."""
    name(key, f"{path}key")
    length(f"{path}key", key, KEY)
    length(f"{path}value", value, limit)


def batch(metrics: int, params: int, tags: int) -> None:
    """Refuse a batch that is larger than clients are told to make them."""
    for what, size, limit in (
        ("metrics", metrics, BATCH_METRICS),
        ("params", params, BATCH_VALUES),
        ("tags", tags, BATCH_VALUES),
        ("metrics, params, and tags", metrics + params + tags, BATCH),
    ):
        if size > limit:
            raise Refused(
                f"A batch logging request can contain at most {limit} {what}. Got {size} {what}. "
                f"Please split up {what} across multiple requests and try again."
            )


def run_id(value: str) -> None:
    """Refuse what can be no run's id."""
    if not _RUN_ID.fullmatch(value):
        raise Refused(described("run_id", value))


def experiment_id(value: str) -> int:
    """Return an experiment's number."""
    try:
        return int(value)
    except ValueError:
        raise Refused(
            f"Invalid experiment ID '{value}'. Experiment ID must be a valid integer."
        ) from None


def experiment_name(value: str) -> None:
    """Refuse an experiment's name that is empty or too long."""
    if not value.strip():
        raise Refused(f"Invalid experiment name: '{value}'")
    length("name", value, EXPERIMENT_NAME)


def at_most(value: int | None, default: int, limit: int) -> int:
    """Return how many results a page has."""
    if value is None:
        return default
    if not 1 <= value <= limit:
        raise Refused(
            f"Invalid value for max_results. It must be a positive integer of at most {limit}, "
            f"but got {value}"
        )
    return value
