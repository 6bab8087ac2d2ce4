"""Searching experiments, and the names that their runs use."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, func, literal, select

from setpoint.runs.commands import Experiments, MetricNames, Names, SearchExperiments
from setpoint.runs.filters import (
    ATTRIBUTE,
    Attribute,
    Comparison,
    Entity,
    Kind,
    Language,
    Order,
    parse,
    parse_order,
)
from setpoint.runs.store import experiments as experiment_store
from setpoint.runs.store import searching
from setpoint.runs.store.search import seen
from setpoint.runs.store.searching import Condition, Sort, compare, micros, sorts
from setpoint.runs.store.values import Kind as Carried
from setpoint.runs.tables import experiment_tags as tg
from setpoint.runs.tables import experiments as e
from setpoint.runs.tables import run_metrics as m
from setpoint.runs.tables import run_names as n
from setpoint.runs.tables import run_values as v
from setpoint.runs.tables import runs as r

EXPERIMENTS = Language(
    noun="experiment",
    attributes={
        "name": Attribute(),
        "experiment_id": Attribute(kind=Kind.NUMBER, also=("id",)),
        "creation_time": Attribute(kind=Kind.TIME, also=("created_at",)),
        "last_update_time": Attribute(kind=Kind.TIME, also=("updated_at",)),
        "lifecycle_stage": Attribute(also=("lifecycle",)),
    },
    entities={"tags": Entity(also=("tag",))},
)


def experiments(conn: Connection, cmd: SearchExperiments) -> Experiments:
    """Return the page of experiments that a command asks for."""
    columns: dict[str, ColumnElement[Any]] = {
        "name": e.c.name,
        "experiment_id": e.c.id,
        "creation_time": micros(e.c.created_at),
        "last_update_time": micros(e.c.updated_at),
        "lifecycle_stage": e.c.lifecycle,
    }

    def leaf(found: Comparison) -> Condition:
        if found.entity == ATTRIBUTE:
            return compare(conn, columns[found.key], found)
        owner = tg.c.experiment_id == e.c.id
        return searching.tags(conn, found, owner, tg.c.name, tg.c.value)

    condition = searching.where(parse(cmd.filter, EXPERIMENTS), leaf)
    order = []
    for item in parse_order(cmd.order, EXPERIMENTS) or [
        Order(entity=ATTRIBUTE, key="creation_time", descending=True)
    ]:
        if item.entity == ATTRIBUTE:
            order.append(Sort(columns[item.key], item.descending))
            continue
        named = select(tg.c.value).where(tg.c.experiment_id == e.c.id, tg.c.name == item.key)
        order += sorts(named.scalar_subquery(), "", descending=item.descending)
    rows, following = searching.page(
        conn,
        select(e).where(condition, *seen(e, cmd.view)),
        [*order, Sort(e.c.id, descending=True)],
        limit=cmd.limit,
        token=cmd.token,
        of=searching.mark(cmd.filter, cmd.order, cmd.view),
    )
    return Experiments(experiments=experiment_store.entities(conn, rows), next=following)


def names(conn: Connection, cmd: MetricNames) -> Names:
    """Return the names that runs of experiments use, in alphabetical order."""
    query = select(n.c.name).order_by(n.c.name).limit(cmd.limit)
    if cmd.like:
        query = query.where(func.lower(n.c.name).contains(cmd.like.lower(), autoescape=True))
    ids = select(e.c.id).where(e.c.name.in_(cmd.experiments))

    def of(table: Any, *where: Condition) -> list[str]:
        there = select(literal(1)).where(table.c.name_id == n.c.id, *where)
        if cmd.experiments:
            run = select(literal(1)).where(r.c.key == table.c.run_key, r.c.experiment_id.in_(ids))
            there = there.where(run.exists())
        return list(conn.execute(query.where(there.exists())).scalars())

    return Names(
        metrics=of(m),
        params=of(v, v.c.kind == int(Carried.PARAM)),
        tags=of(v, v.c.kind == int(Carried.TAG)),
    )
