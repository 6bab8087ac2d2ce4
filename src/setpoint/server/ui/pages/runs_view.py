"""What the runs table is asked to show: read off its address, and written back into it."""

import re
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec
from msgspec import Struct, field

from setpoint.runs.commands import SearchRuns
from setpoint.runs.entities import View

#: How curves are shown, kept as they are while the table changes.
_CURVES = ("x", "smooth", "log", "logx", "from", "to")
_PLAIN = re.compile(r"[A-Za-z_][\w./:-]*")


class RunsView(Struct, frozen=True, kw_only=True):
    """A way to look at runs. Columns are ``metrics.…``, ``params.…``, ``tags.…``."""

    experiment: str = ""  #: empty: all
    filter: str = ""
    order: str = ""  #: e.g. ``metrics.auc DESC``; empty: newest first
    columns: list[str] = field(default_factory=list)  #: empty: chosen by what runs have
    group: str = ""  #: a column whose values runs are grouped by
    deleted: bool = False
    metric: str = ""  #: whose curves are drawn beside the table
    pins: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    curves: list[tuple[str, str]] = field(default_factory=list)

    def pairs(self) -> list[tuple[str, str]]:
        """Return the view as the parts of an address; what is as usual is left out."""
        single = {
            "experiment": self.experiment,
            "q": self.filter,
            "order": self.order,
            "group": self.group,
            "view": "deleted" if self.deleted else "",
            "metric": self.metric,
        }
        return [
            *((name, value) for name, value in single.items() if value),
            *(("c", each) for each in self.columns),
            *(("pin", each) for each in self.pins),
            *(("run", each) for each in self.chosen),
            *self.curves,
        ]

    @property
    def query(self) -> str:
        """What follows the ``?`` of the page's address."""
        return urlencode(self.pairs())

    def url(self, **changes: object) -> str:
        """Return the address of this view with some of it changed."""
        query = msgspec.structs.replace(self, **changes).query
        return f"/runs?{query}" if query else "/runs"

    def search(self, limit: int, token: str = "") -> SearchRuns:
        """Return the command that finds its runs."""
        return SearchRuns(
            experiments=[self.experiment] if self.experiment else [],
            filter=self.filter,
            order=[self.order] if self.order else [],
            view=View.DELETED if self.deleted else View.ACTIVE,
            limit=limit,
            token=token,
            latest=True,
        )

    def sorted_by(self, column: str) -> str:
        """Return ``DESC``, ``ASC``, or nothing where another column orders the runs."""
        name, _, direction = self.order.rpartition(" ")
        return direction if name == spelled(column) else ""

    def sort_url(self, column: str) -> str:
        """Return where the heading of a column leads: greatest first, least first, as usual."""
        following = {"": "DESC", "DESC": "ASC", "ASC": ""}[self.sorted_by(column)]
        return self.url(order=f"{spelled(column)} {following}" if following else "")


def read(pairs: Sequence[tuple[str, str]]) -> RunsView:
    """Return the view that an address asks for."""
    last = dict(pairs)
    gone = {value for name, value in pairs if name == "unpin"}

    def every(wanted: str) -> list[str]:
        return list(dict.fromkeys(value for name, value in pairs if name == wanted and value))

    return RunsView(
        experiment=last.get("experiment", ""),
        filter=last.get("q", "").strip(),
        order=last.get("order", "").strip(),
        columns=every("c"),
        group=last.get("group", ""),
        deleted=last.get("view") == "deleted",
        metric=last.get("metric", ""),
        pins=[each for each in every("pin") if each not in gone],
        chosen=every("run"),
        curves=[(name, last[name]) for name in _CURVES if last.get(name)],
    )


def spelled(column: str) -> str:
    """Return a column as filters spell it: its name quoted where it has to be."""
    entity, dot, key = column.partition(".")
    if not dot or _PLAIN.fullmatch(key):
        return column
    return '{}."{}"'.format(entity, key.replace('"', '""'))


def equals(column: str, value: str | None) -> str:
    """Return the condition that a column has a value, or none."""
    if value is None:
        return f"{spelled(column)} IS NULL"
    return "{} = '{}'".format(spelled(column), value.replace("'", "''"))
