"""Searching runs: the fewest rows are looked at first.

A search is answered from the smaller side. If few runs meet one of the conditions, those are
sorted; otherwise runs are walked in the order asked for, along its index, until a page is full.
"""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.sql.selectable import FromClause

from setpoint.runs.commands import (
    Runs,
    SearchRuns,
)
from setpoint.runs.entities import Lifecycle, Run, View
from setpoint.runs.filters import (
    ATTRIBUTE,
    All,
    Attribute,
    Comparison,
    Either,
    Entity,
    Expression,
    Kind,
    Language,
    No,
    Order,
    parse,
    parse_order,
)
from setpoint.runs.store import naming, searching
from setpoint.runs.store import runs as store
from setpoint.runs.store.searching import Condition, Sort, compare, micros, sorts
from setpoint.runs.store.values import HEAD, number_of
from setpoint.runs.store.values import Kind as Carried
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import read_datasets as d
from setpoint.runs.tables import run_datasets as rd
from setpoint.runs.tables import run_metrics as m
from setpoint.runs.tables import run_values as v
from setpoint.runs.tables import runs as r

FEW = 2_000  #: runs: so many are named in the statement
SOME = 15_000  #: runs: so many are still sorted rather than walked
_NONE = -1  #: the number of a name that nothing has

RUNS = Language(
    noun="run",
    attributes={
        "run_id": Attribute(also=("id",)),
        "run_name": Attribute(also=("name", "run name", "Run name", "Run Name")),
        "status": Attribute(lower=True),
        "start_time": Attribute(kind=Kind.TIME, also=("created", "Created", "started_at")),
        "end_time": Attribute(kind=Kind.TIME, also=("ended_at",)),
        "user_id": Attribute(also=("actor",)),
        "experiment_id": Attribute(kind=Kind.NUMBER),
        "experiment": Attribute(),
        "lifecycle_stage": Attribute(also=("lifecycle",)),
        "parent": Attribute(),
        "error": Attribute(),
    },
    entities={
        "metrics": Entity(kind=Kind.NUMBER, also=("metric",)),
        "params": Entity(also=("param", "parameter", "parameters")),
        "tags": Entity(also=("tag",)),
        "datasets": Entity(kind=Kind.TEXT, also=("dataset",), keys=("name", "digest", "context")),
    },
    attribute_words=(ATTRIBUTE, "attributes", "attr", "run"),
)
_PAGE = store.LISTED.where(r.c.key.in_(bindparam("keys", expanding=True)))
_EXPERIMENT_NAME = select(e.c.name).where(e.c.id == r.c.experiment_id).scalar_subquery()
_ATTRIBUTES: dict[str, ColumnElement[Any]] = {
    "run_id": r.c.id,
    "run_name": r.c.name,
    "status": r.c.status,
    "start_time": micros(r.c.started_at),
    "end_time": micros(r.c.ended_at),
    "user_id": r.c.actor,
    "experiment_id": r.c.experiment_id,
    "experiment": _EXPERIMENT_NAME,
    "lifecycle_stage": r.c.lifecycle,
    "parent": r.c.parent,
    "error": r.c.error,
}
_CARRIED = {"params": Carried.PARAM, "tags": Carried.TAG}


def runs(conn: Connection, cmd: SearchRuns) -> Runs:
    """Return the page of runs that a command asks for."""
    found, following = Search(conn, cmd).page()
    rows = {row.key: row for row in conn.execute(_PAGE, {"keys": found}).all()}
    listed: list[Run] = store.entities(conn, [rows[key] for key in found], latest=cmd.latest)
    return Runs(runs=listed, next=following)


def seen(table: Any, view: View) -> list[Condition]:
    """Return the condition of a lifecycle."""
    return [] if view is View.ALL else [table.c.lifecycle == Lifecycle(view.value)]


class Search:
    """One search for runs: what it asks, with names as numbers."""

    def __init__(self, conn: Connection, cmd: SearchRuns) -> None:
        self._conn = conn
        self._cmd = cmd
        self._filter = parse(cmd.filter, RUNS)
        self._order = parse_order(cmd.order, RUNS) or [
            Order(entity=ATTRIBUTE, key="start_time", descending=True)
        ]
        named = {one.key for one in _leaves(self._filter)} | {one.key for one in self._order}
        self._ids = naming.known(conn, named)
        self._mark = searching.mark(
            cmd.filter, cmd.order, cmd.view, cmd.experiments, cmd.experiment_ids
        )
        self._where = [*seen(r, cmd.view), *self._experiments()]

    def _experiments(self) -> list[Condition]:
        cmd = self._cmd
        if not cmd.experiments and not cmd.experiment_ids:
            return []
        named = select(e.c.id).where(e.c.name.in_(cmd.experiments))
        ids = [
            *cmd.experiment_ids,
            *(self._conn.execute(named).scalars() if cmd.experiments else ()),
        ]
        return [r.c.experiment_id.in_(ids)]

    def page(self) -> tuple[list[int], str]:
        """Return the keys of the page's runs, and the token of the next."""
        few = self._few()
        first = self._order[0]
        walkable = first.entity in {"metrics", *_CARRIED} or (
            first.entity == ATTRIBUTE and first.key == "start_time"
        )
        if few is None and walkable:
            return self._walk()
        query = select(r.c.key).where(*self._where, self._condition(r.c.key))
        if few is not None:
            query = query.where(few)
        order: list[Sort] = []
        for item in self._order:
            query, columns = self._joined(query, item)
            order += columns
        rows, following = searching.page(
            self._conn,
            query,
            [*order, Sort(r.c.key, descending=True)],
            limit=self._cmd.limit,
            token=self._cmd.token,
            of=f"{self._mark} sorted",
        )
        return [row.key for row in rows], following

    def all(self) -> Select[tuple[int]]:
        """Return a query for the keys of the runs of all pages, in no order."""
        query = select(r.c.key).where(*self._where, self._condition(r.c.key))
        few = self._few() if self._filter is not None else None
        return query if few is None else query.where(few)

    # -- conditions ---------------------------------------------------------------------

    def _condition(self, key: ColumnElement[int]) -> Condition:
        """Return the filter as a condition on the run of a key, by look-ups of its own."""
        return searching.where(self._filter, lambda found: self._leaf(found, key))

    def _leaf(self, found: Comparison, key: ColumnElement[int]) -> Condition:
        if found.entity == ATTRIBUTE:
            condition = compare(self._conn, _ATTRIBUTES[found.key], found)
            if key is r.c.key:
                return condition
            return select(literal(1)).where(r.c.key == key, condition).exists()
        table, number, condition = self._side(found)
        there = select(literal(1)).select_from(table).where(number == key)
        if found.op == "NULL":
            exists = there.where(condition).exists()
            return exists if found.negated else ~exists
        return there.where(condition).exists()

    def _side(self, found: Comparison) -> tuple[FromClause, ColumnElement[int], Condition]:
        """Return where the rows of a comparison are, their run's key, and the condition."""
        if found.entity == "datasets":
            column = {"name": d.c.name, "digest": d.c.digest, "context": rd.c.context}[found.key]
            met = column.is_not(None) if found.op == "NULL" else compare(self._conn, column, found)
            return rd.join(d, d.c.id == rd.c.dataset_id), rd.c.run_key, met
        number = self._ids.get(naming.plain(found.key), _NONE)
        if found.entity == "metrics":
            here = m.c.name_id == number
            met = here if found.op == "NULL" else here & compare(self._conn, m.c.value, found)
            return m, m.c.run_key, met
        here = (v.c.kind == int(_CARRIED[found.entity])) & (v.c.name_id == number)
        return v, v.c.run_key, here if found.op == "NULL" else here & self._text(found)

    def _text(self, found: Comparison) -> Condition:
        """Return the condition of a comparison of a param or tag."""
        value = found.value
        if isinstance(value, int | float):
            return compare(self._conn, v.c.number, found)
        if found.op in {"=", "!="} and isinstance(value, str):
            return _equal(value) if found.op == "=" else ~_equal(value)
        if found.op == "IN" and isinstance(value, tuple):
            among = or_(*(self._text(_equals(found, one)) for one in value))
            return ~among if found.negated else among
        whole = case((v.c.rest.is_(None), v.c.head), else_=v.c.head + v.c.rest)
        return compare(self._conn, whole, found)

    # -- few ------------------------------------------------------------------------------

    def _few(self) -> Condition | None:
        """Return what names the runs that meet one condition, if sorting those is less work.

        A walk looks at as many runs as it takes to fill a page, by how rare the conditions are
        if they have nothing to do with each other.
        """
        counts: list[tuple[int, Select[Any]]] = []
        for query in self._sides():
            bounded = query.limit(SOME + 1).subquery()
            count = int(self._conn.execute(select(func.count()).select_from(bounded)).scalar_one())
            if count <= SOME:
                counts.append((count, query))
        if not counts:
            return None
        count, query = min(counts, key=lambda one: one[0])
        if count <= FEW:
            keys = sorted(set(self._conn.execute(query).scalars()))
            # As one parameter: given as a list, each key would become one of its own first.
            return r.c.key.in_(bindparam("few", keys, expanding=True, unique=True))
        there = int(self._conn.execute(select(func.max(r.c.key))).scalar() or 1)
        share = math.prod(min(1.0, count / there) for count, _ in counts)
        return r.c.key.in_(query) if count < self._cmd.limit / share else None

    def _sides(self) -> list[Select[Any]]:
        """Return queries for the keys of runs that meet one condition, where an index helps."""
        queries = []
        if self._experiments():
            queries.append(select(r.c.key).where(*self._experiments()))
        parts = self._filter.parts if isinstance(self._filter, All) else (self._filter,)
        for found in parts:
            if not isinstance(found, Comparison) or found.negated or found.op in {"!=", "NULL"}:
                continue
            if found.entity != ATTRIBUTE:
                table, key, condition = self._side(found)
                queries.append(select(key).select_from(table).where(condition))
            elif found.key in {"run_id", "parent"}:
                condition = compare(self._conn, _ATTRIBUTES[found.key], found)
                queries.append(select(r.c.key).where(condition))
        return queries

    # -- sorting ----------------------------------------------------------------------------

    def _joined(self, query: Select[Any], item: Order) -> tuple[Select[Any], list[Sort]]:
        """Return the query with what it is sorted by: present numbers, texts, then missing."""
        down = item.descending
        if item.entity == ATTRIBUTE:
            column = _ATTRIBUTES[item.key]
            empty: str | float = "" if RUNS.attributes[item.key].kind is Kind.TEXT else 0
            return query, sorts(column, empty, descending=down)
        number = self._ids.get(naming.plain(item.key), _NONE)
        if item.entity == "metrics":
            t = m.alias()
            on = and_(t.c.run_key == r.c.key, t.c.name_id == number)
            band = case((t.c.run_key.is_(None), 2), (t.c.value.is_(None), 1), else_=0)
            order = [Sort(band), Sort(func.coalesce(t.c.value, 0.0), down)]
        else:
            t = v.alias()
            kind = int(_CARRIED.get(item.entity, _NONE))
            on = and_(t.c.run_key == r.c.key, t.c.kind == kind, t.c.name_id == number)
            band = case((t.c.run_key.is_(None), 2), (t.c.number.is_(None), 1), else_=0)
            order = [Sort(band), Sort(func.coalesce(t.c.number, 0.0), down)]
            order.append(Sort(func.coalesce(t.c.head, ""), down))
        return query.outerjoin(t, on), order

    # -- walking ------------------------------------------------------------------------------

    def _walk(self) -> tuple[list[int], str]:
        """Return the page by walking an index: band by band, as `_joined` sorts."""
        limit, token = self._cmd.limit, self._cmd.token
        bands = self._bands(self._order[0])
        start, after = 0, list[Any]()
        if token:
            start, *after = searching.unseal(token, f"{self._mark} walked")
        keys: list[int] = []
        for number in range(start, len(bands)):
            query, order = bands[number]
            labels = [each.column.label(f"sort_{i}") for i, each in enumerate(order)]
            if after:
                query = query.where(searching.beyond(order, after))
                after = []
            by = [each.column.desc() if each.descending else each.column for each in order]
            query = query.add_columns(*labels).order_by(*by).limit(limit + 1 - len(keys))
            rows = self._conn.execute(query).all()
            room = limit - len(keys)
            keys += [row[0] for row in rows[:room]]
            if len(rows) > room:
                # A page that is full where a band begins goes on at that beginning.
                values = list(rows[room - 1][1:]) if room else []
                return keys, searching.seal([number, *values], f"{self._mark} walked")
        return keys, ""

    def _bands(self, item: Order) -> list[tuple[Select[Any], list[Sort]]]:
        newest = Sort(r.c.key, descending=True)
        here = select(r.c.key).where(*self._where, self._condition(r.c.key))
        if item.entity == ATTRIBUTE:
            here, then = self._then(here)
            return [(here, [Sort(_ATTRIBUTES[item.key], item.descending), *then, newest])]
        named, key, value, text = self._walked(item)
        if len(self._order) > 1:
            walked = select(key).select_from(key.table.join(r, r.c.key == key))
            walked = walked.where(*self._where, self._condition(r.c.key))
        else:
            walked = select(key).where(self._condition(key))
            if self._where:
                walked = walked.where(
                    select(literal(1)).where(r.c.key == key, *self._where).exists()
                )
        walked, then = self._then(walked.where(named))
        there = select(literal(1)).where(key == r.c.key, named)
        missing, rest = self._then(here.where(~there.exists()))
        last = Sort(key, descending=True)
        down = item.descending
        texts = [Sort(text, down)] if text is not None else []
        return [
            (walked.where(value.is_not(None)), [Sort(value, down), *texts, *then, last]),
            (walked.where(value.is_(None)), [*texts, *then, last]),
            (missing, [*rest, newest]),
        ]

    def _walked(self, item: Order) -> tuple[Condition, Any, Any, Any]:
        """Return what tells the rows of a name apart, and their key, number and text."""
        # By a name of its own: conditions look the same tables up.
        number = self._ids.get(naming.plain(item.key), _NONE)
        if item.entity == "metrics":
            o = m.alias("walked")
            return o.c.name_id == number, o.c.run_key, o.c.value, None
        w = v.alias("walked")
        named = (w.c.kind == int(_CARRIED[item.entity])) & (w.c.name_id == number)
        return named, w.c.run_key, w.c.number, w.c.head

    def _then(self, query: Select[Any]) -> tuple[Select[Any], list[Sort]]:
        """Return a query with what it is sorted by after the first."""
        order: list[Sort] = []
        for item in self._order[1:]:
            query, columns = self._joined(query, item)
            order += columns
        return query, order


def _equal(text: str) -> Condition:
    """Return the condition of a param or tag that is this text, such that the index finds it."""
    number = number_of(text)
    same = v.c.number.is_(None) if number is None else v.c.number == number
    rest = v.c.rest.is_(None) if len(text) <= HEAD else v.c.rest == text[HEAD:]
    return and_(same, v.c.head == text[:HEAD], rest)


def _equals(found: Comparison, value: str | float) -> Comparison:
    return Comparison(entity=found.entity, key=found.key, op="=", value=value)


def _leaves(expression: Expression | None) -> Sequence[Comparison]:
    match expression:
        case None:
            return []
        case Comparison():
            return [expression]
        case No(part=part):
            return _leaves(part)
        case All(parts=parts) | Either(parts=parts):
            return [leaf for part in parts for leaf in _leaves(part)]
