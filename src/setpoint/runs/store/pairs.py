"""Series by the numbers of their run and name, and how to ask the database for many of them."""

from collections.abc import Hashable, Iterable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement

Pair = tuple[int, int]  #: run key, name id
K = TypeVar("K", bound=Hashable)

_SIDE = 5_000  #: numbers in a list; SQLite takes 32,766 variables


def boxes(pairs: Iterable[tuple[int, K]]) -> list[tuple[list[int], list[K]]]:
    """Return pairs as (runs, names), where every run of one goes with every name of it.

    A list of pairs makes SQLite scan its table; two lists make it look up. Runs of one kind
    log the same names, so that there are few boxes.
    """
    names: dict[int, set[K]] = {}
    for run, name in pairs:
        names.setdefault(run, set()).add(name)
    same: dict[frozenset[K], list[int]] = {}
    for run, found in names.items():
        same.setdefault(frozenset(found), []).append(run)
    return [
        (runs[i : i + _SIDE], some[j : j + _SIDE])
        for found, runs in same.items()
        for some in [list(found)]
        for i in range(0, len(runs), _SIDE)
        for j in range(0, len(some), _SIDE)
    ]


def among(
    pairs: Iterable[tuple[int, K]], run: ColumnElement[Any], name: ColumnElement[Any]
) -> list[ColumnElement[bool]]:
    """Return conditions that together meet exactly these pairs, each once."""
    return [run.in_(runs) & name.in_(names) for runs, names in boxes(pairs)]
