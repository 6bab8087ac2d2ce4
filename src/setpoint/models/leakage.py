"""Signs that a model was shown what it will not know in use."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from msgspec import Struct

from setpoint.models.metrics import Floats, measure

TELLING = 0.995  #: ROC AUC (or rank correlation) from which one feature gives the label away
REPEATED = 0.05  #: share of repeated test rows, beyond what training repeats itself
_ROWS = 50_000  #: rows looked at for single features


class Leakage(Struct, frozen=True, kw_only=True):
    """What was found, each with how much."""

    telling: dict[str, float]  #: features that alone give the label away: how well
    strongest: tuple[str, float]  #: the feature that alone tells most, and how well
    shared_ids: int  #: ids in both training and test
    repeated: float  #: share of test rows whose features and label are a training row's
    natural: float  #: share of training rows that repeat another training row

    @property
    def why(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        found = [f"{name} alone tells the label ({how:.3f})" for name, how in self.telling.items()]
        if self.shared_ids:
            found.append(f"{self.shared_ids:,} rows are in training and test both")
        if self.repeated > self.natural + REPEATED:
            found.append(f"{self.repeated:.1%} of test rows repeat a training row")
        return "; ".join(found)


def examine(
    train: pl.DataFrame,
    train_label: Floats,
    test: pl.DataFrame,
    test_label: Floats,
    *,
    kind: str = "classification",
    train_ids: pl.Series | None = None,
    test_ids: pl.Series | None = None,
) -> Leakage:
    """Look for leakage from the label or the test into training.

    Three signs: one feature that alone orders the test labels (ROC AUC of 0.995 or more
    either way; for a regression the rank correlation), ids on both sides, test rows that
    repeat a training row in every feature and the label more often than training rows
    repeat each other by 5 percentage points (so that data made of few categories pass).
    """
    telling = _alone(test.head(_ROWS), test_label[:_ROWS], kind)
    strongest = max(telling.items(), key=lambda each: each[1], default=("", 0.0))
    shared = 0
    if train_ids is not None and test_ids is not None:
        shared = int(test_ids.unique().is_in(train_ids.unique().implode()).sum())
    before, after = _keys(train, train_label), _keys(test, test_label)
    return Leakage(
        telling={name: how for name, how in telling.items() if how >= TELLING},
        strongest=strongest,
        shared_ids=shared,
        repeated=_share(np.isin(after, before)),
        natural=_share(pl.Series(before).is_duplicated().to_numpy()),
    )


def _share(found: Sequence[bool] | np.ndarray) -> float:
    return float(np.mean(found)) if len(found) else 0.0


def _alone(features: pl.DataFrame, label: Floats, kind: str) -> dict[str, float]:
    found = {}
    for column in features:
        values = _ranked(column)
        if values is None or values.size < 2 or values.min() == values.max():
            continue
        how = _order(values, label, kind)
        if np.isfinite(how):
            found[column.name] = how
    return found


def _ranked(column: pl.Series) -> Floats | None:
    """Return a column as numbers with nulls and NaN lowest; None if it has no order."""
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        return None
    values: Floats = column.cast(pl.Float64).to_numpy().astype(np.float64)
    return np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _order(values: Floats, label: Floats, kind: str) -> float:
    if kind == "classification":
        area = measure("roc_auc", label, values).value
        return max(area, 1 - area)
    ranks = pl.DataFrame({"x": values, "y": label}).select(pl.corr("x", "y", method="spearman"))
    return abs(float(ranks.item()))


def _keys(features: pl.DataFrame, label: Floats) -> np.ndarray:
    whole = features.with_columns(pl.Series("@label", label))
    return whole.hash_rows(seed=1).to_numpy()
