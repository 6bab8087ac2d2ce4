"""Models and versions found by the language of searches, page by page."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal, select

from setpoint.models import store as versions
from setpoint.models.entities import PROMPT
from setpoint.models.registry import store as registry
from setpoint.models.registry.entities import Entry, Model
from setpoint.models.tables import model_aliases, model_tags, model_versions, models
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
from setpoint.runs.store import searching
from setpoint.runs.store.searching import Condition, Sort, compare, micros, sorts

m, v, t, a = models.c, model_versions.c, model_tags.c, model_aliases.c

_ENTITIES = {
    "tags": Entity(also=("tag",)),
    "aliases": Entity(kind=Kind.NUMBER, also=("alias",)),
}
_CREATED = Attribute(kind=Kind.TIME, also=("created_at", "creation_time", "created"))
_UPDATED = Attribute(kind=Kind.TIME, also=("updated_at", "last_updated_time", "timestamp"))

MODELS = Language(
    noun="model",
    attributes={
        "name": Attribute(also=("model",)),
        "description": Attribute(),
        "versions": Attribute(kind=Kind.NUMBER),
        "creation_timestamp": _CREATED,
        "last_updated_timestamp": _UPDATED,
    },
    entities=_ENTITIES,
)
VERSIONS = Language(
    noun="model version",
    attributes={
        "name": Attribute(also=("model",)),
        "version_number": Attribute(kind=Kind.NUMBER, also=("version", "number")),
        "run_id": Attribute(),
        "source_path": Attribute(also=("source",)),
        "description": Attribute(),
        "status": Attribute(lower=True),
        "current_stage": Attribute(also=("stage",)),
        "flavor": Attribute(),
        "why": Attribute(),
        "size": Attribute(kind=Kind.NUMBER),
        "creation_timestamp": _CREATED,
        "last_updated_timestamp": _UPDATED,
    },
    entities=_ENTITIES,
)
_MODEL_COLUMNS: dict[str, ColumnElement[Any]] = {
    "name": m.model,
    "description": m.description,
    "versions": m.versions,
    "creation_timestamp": micros(m.created_at),
    "last_updated_timestamp": micros(m.updated_at),
}
_VERSION_COLUMNS: dict[str, ColumnElement[Any]] = {
    "name": v.model,
    "version_number": v.number,
    "run_id": v.run_id,
    "source_path": v.source,
    "description": v.description,
    "status": v.status,
    "current_stage": v.stage,
    "flavor": v.flavor,
    "why": v.why,
    "size": v.size,
    "creation_timestamp": micros(v.created_at),
    "last_updated_timestamp": micros(v.updated_at),
}


def find_models(
    conn: Connection, text: str, order: Sequence[str], *, deleted: bool, limit: int, token: str
) -> tuple[list[Model], str]:
    """Return a page of models, by name unless told otherwise, and the token of the next."""
    tagged = and_(t.model == m.model, t.number == 0)
    named = a.model == m.model
    expression = parse(text, MODELS)
    by = _order(parse_order(order, MODELS), _MODEL_COLUMNS, tagged, named)
    rows, following = searching.page(
        conn,
        select(models).where(
            m.deleted_at.is_not(None) if deleted else m.deleted_at.is_(None),
            _condition(conn, expression, _MODEL_COLUMNS, tagged, named),
        ),
        [*by, Sort(m.model)],
        limit=limit,
        token=token,
        of=searching.mark("models", text, order, deleted),
    )
    return registry.entities(conn, rows), following


def find_versions(
    conn: Connection, text: str, order: Sequence[str], *, deleted: bool, limit: int, token: str
) -> tuple[list[Entry], str]:
    """Return a page of versions, the last changed first, and the token of the next."""
    tagged = and_(t.model == v.model, t.number == v.number)
    named = and_(a.model == v.model, a.number == v.number)
    expression = parse(text, VERSIONS)
    newest = [Order(entity=ATTRIBUTE, key="last_updated_timestamp", descending=True)]
    asked = parse_order(order, VERSIONS) or newest
    by = _order(asked, _VERSION_COLUMNS, tagged, named)
    rows, following = searching.page(
        conn,
        select(model_versions).where(
            v.deleted_at.is_not(None) if deleted else v.deleted_at.is_(None),
            _condition(conn, expression, _VERSION_COLUMNS, tagged, named),
        ),
        [*by, Sort(v.model), Sort(v.number, descending=True)],
        limit=limit,
        token=token,
        of=searching.mark("versions", text, order, deleted),
    )
    found = [versions.entity(row) for row in rows]
    return registry.entries(conn, found), following


def _condition(
    conn: Connection,
    expression: Expression | None,
    columns: Mapping[str, ColumnElement[Any]],
    tagged: Condition,
    named: Condition,
) -> Condition:
    """Return a filter as a condition; prompts are found only by those who ask for them."""
    model = columns["name"]
    says = model_tags.alias()
    prompts = (
        select(literal(1))
        .where(says.c.model == model, says.c.key == PROMPT, func.lower(says.c.value) == "true")
        .exists()
    )

    def leaf(found: Comparison) -> Condition:
        if found.entity == ATTRIBUTE:
            return compare(conn, columns[found.key], found)
        if found.entity == "aliases":
            there = select(literal(1)).where(named, a.alias == found.key)
            if found.op == "NULL":
                return there.exists() if found.negated else ~there.exists()
            return there.where(compare(conn, a.number, found)).exists()
        if found.key == PROMPT and found.op in {"=", "!="}:
            wanted = (str(found.value).lower() == "true") == (found.op == "=")
            return prompts if wanted else ~prompts
        return searching.tags(conn, found, tagged, t.key, t.value)

    condition = searching.where(expression, leaf)
    return condition if _asks_for_prompts(expression) else and_(condition, ~prompts)


def _asks_for_prompts(expression: Expression | None) -> bool:
    match expression:
        case Comparison(entity="tags", key=key):
            return key == PROMPT
        case No(part=part):
            return _asks_for_prompts(part)
        case All(parts=parts) | Either(parts=parts):
            return any(_asks_for_prompts(part) for part in parts)
    return False


def _order(
    asked: Sequence[Order],
    columns: Mapping[str, ColumnElement[Any]],
    tagged: Condition,
    named: Condition,
) -> list[Sort]:
    order: list[Sort] = []
    for item in asked:
        if item.entity == ATTRIBUTE:
            order.append(Sort(columns[item.key], item.descending))
        elif item.entity == "aliases":
            number = select(a.number).where(named, a.alias == item.key).scalar_subquery()
            order += sorts(number, 0, descending=item.descending)
        else:
            value = select(t.value).where(tagged, t.key == item.key).scalar_subquery()
            order += sorts(value, "", descending=item.descending)
    return order
