"""The kinds of values a spec holds, and the metrics it can name."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Struct


class Doc(Struct, frozen=True):
    """What a key means, and what follows from its value."""

    meaning: str
    consequence: str = ""


class Kind(StrEnum):
    """What a text or number must look like; the reader and the JSON Schema go by it."""

    MODEL = "model name"
    NAME = "name"
    COLUMN = "column name"
    PATH = "path"
    CODE = "module:name"
    SOURCE = "path or module:name"
    DURATION = "duration"
    PERCENT = "percentage"
    GROWTH = "percentage, also above 100%"
    POSITIVE = "whole number above 0"
    SIZE = "size"
    VERSIONS = "policy of versions"
    SOURCES = "a source, or several by name"
    WHICH = "version of a model"


ModelName = Annotated[str, Kind.MODEL]
Name = Annotated[str, Kind.NAME]
Column = Annotated[str, Kind.COLUMN]
PathText = Annotated[str, Kind.PATH]  #: relative to the spec's folder
Code = Annotated[str, Kind.CODE]  #: ``module:name`` relative to the spec's folder
Source = Annotated[str, Kind.SOURCE]
Sources = Annotated[dict[str, Source], Kind.SOURCES]
Duration = Annotated[timedelta, Kind.DURATION]
Percent = Annotated[float, Kind.PERCENT]  #: a fraction in [0, 1]
Growth = Annotated[float, Kind.GROWTH]  #: a fraction of at least 0
Count = Annotated[int, Kind.POSITIVE]
Versions = Annotated[str, Kind.VERSIONS]  #: as `serve.naming` reads them
Which = Annotated[str, Kind.WHICH]  #: ``fraud``, ``fraud@alias`` or ``fraud:3``
Size = Annotated[int, Kind.SIZE]  #: bytes

Metric = Literal[
    "roc_auc", "average_precision", "accuracy", "precision", "recall", "f1",
    "log_loss", "brier", "r2", "rmse", "mae",
]  # fmt: skip
Task = Literal["classification", "regression"]

LOWER_IS_BETTER: frozenset[str] = frozenset({"log_loss", "brier", "rmse", "mae"})
REGRESSION: frozenset[str] = frozenset({"r2", "rmse", "mae"})
