"""Data contracts in the Open Data Contract Standard (ODCS v3.0 to v3.2, YAML).

What is understood, each as one check with a name:

- of a property: ``logicalType``, ``required``, ``unique``, ``primaryKey``, ``enum`` and
  ``logicalTypeOptions`` (``minimum``, ``maximum``, ``exclusiveMinimum``,
  ``exclusiveMaximum``, ``multipleOf``, ``minLength``, ``maxLength``, ``pattern``);
- ``quality`` of a property: ``nullValues``, ``missingValues``, ``invalidValues``,
  ``duplicateValues``; of the table: ``rowCount``, ``duplicateValues``; of either:
  ``type: sql`` (a query giving one number) and ``type: custom`` with ``engine: polars``
  (an SQL expression that is true for a good row);
- what marks a property as personal (`odcs.PERSONAL`): ``classification``, ``tags``, a custom
  property that is true;
- ``mustBe``, ``mustBeLessThan`` … with ``unit: rows`` or ``percent``, and ``severity``.

Everything else of the standard is allowed and ignored; a key it does not have is an error.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from setpoint.data import odcs
from setpoint.data.names import nearest
from setpoint.errors import Invalid, NotFound


class Bound(Struct, frozen=True, kw_only=True):
    """What a count must be: an operator of the standard, its value, rows or percent."""

    operator: str
    value: Any
    percent: bool = False


class Rule(Struct, frozen=True, kw_only=True):
    """One check. `kind` says how it is compiled (`checks.compile_rule`)."""

    name: str
    kind: str  #: an option or metric of the standard, or ``required``, ``unique``, ``enum``…
    columns: list[str]  #: what it looks at; empty for ``rowCount`` and queries
    value: Any = None
    bound: Bound = Bound(operator="mustBe", value=0)
    severity: str = "error"


class Contract(Struct, frozen=True, kw_only=True):
    """A parsed contract for one table."""

    name: str
    version: str
    table: str
    types: dict[str, str | None]  #: property → logicalType, in the contract's order
    rules: list[Rule]
    personal: list[str] = []  #: properties that are marked as being about a person
    where: str = ""  #: the file, for messages

    @property
    def required(self) -> list[str]:
        """Columns that are never missing."""
        return [rule.columns[0] for rule in self.rules if rule.kind == "required"]

    @property
    def identity(self) -> str:
        """What tells two contracts apart that check differently, and only those."""
        return msgspec.json.encode([self.types, self.rules], order="sorted", enc_hook=str).decode()

    @property
    def keys(self) -> list[list[str]]:
        """Column sets whose values must be unique, also against rows already stored."""
        return [
            rule.columns
            for rule in self.rules
            if rule.kind == "unique" and rule.severity == "error"
        ]


def load(path: Path, table: str | None = None) -> Contract:
    """Read the contract in the file at `path`; see `parse`.

    Raises:
        NotFound: If there is no such file.
    """
    return parse(_text(path), table=table, where=str(path))


def load_all(path: Path) -> dict[str, Contract]:
    """Read the contract of every table in the file at `path`, by name; as `load`."""
    text = _text(path)
    document = _document(text, str(path))
    tables = document.get("schema") or []
    names = [t["name"] for t in tables if isinstance(t, dict) and "name" in t]
    return {name: parse(text, table=name, where=str(path)) for name in names}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"no contract at {path}", hint="check data.contract in the spec") from None
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read the contract {path}: {error}") from None


def parse(text: str, *, table: str | None = None, where: str = "contract") -> Contract:
    """Compile ODCS YAML to a `Contract` for one of its tables.

    Args:
        text: The YAML document.
        table: Which entry of its ``schema``; the only one if None.
        where: The file, for messages.

    Raises:
        Invalid: If it is no YAML, a key or value is unknown, or a rule makes no sense.
    """
    document = _document(text, where)
    _known(document, odcs.ROOT, where)
    for key in ("version", "apiVersion", "kind", "id"):
        if key not in document:
            raise Invalid(f"the contract lacks {key!r}", where=where, hint="ODCS v3 requires it")
    api = str(document["apiVersion"])
    if not api.startswith("v3."):
        raise Invalid(f"apiVersion {api} is not supported", where=where, hint="use v3.1.0")
    chosen = _table(document.get("schema") or [], table, where)
    types: dict[str, str | None] = {}
    rules: list[Rule] = []
    at = f"{where}: {chosen['name']}"
    for item in chosen.get("properties") or []:
        _property(item, types, rules, at)
    rules += _primary_key(chosen)
    rules += [_quality(q, None, at) for q in chosen.get("quality") or [] if _checkable(q)]
    return Contract(
        name=str(document.get("name") or document["id"]),
        version=str(document["version"]),
        table=chosen["name"],
        types=types,
        rules=rules,
        personal=[p["name"] for p in chosen.get("properties") or [] if _is_personal(p)],
        where=where,
    )


def _document(text: str, where: str) -> dict[str, Any]:
    try:
        document = msgspec.yaml.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"the contract is no YAML: {error}", where=where) from None
    if not isinstance(document, dict):
        raise Invalid("the contract is empty or no mapping", where=where, hint="see ODCS v3")
    return document


def _table(tables: Any, wanted: str | None, where: str) -> dict[str, Any]:
    if not isinstance(tables, list) or not all(
        isinstance(t, dict) and isinstance(t.get("name"), str) for t in tables
    ):
        raise Invalid("schema must be a list of tables, each with a name", where=where)
    names = [t["name"] for t in tables]
    if wanted is None and len(tables) == 1:
        wanted = names[0]
    if wanted not in names:
        said = "which table is meant" if wanted is None else f"no table {wanted!r} in the contract"
        raise Invalid(said, where=where, hint=nearest(wanted or "", names) or "add it to schema")
    found: dict[str, Any] = tables[names.index(wanted)]
    _known(found, odcs.TABLE, f"{where}: {wanted}")
    return found


def _property(item: Any, types: dict[str, str | None], rules: list[Rule], where: str) -> None:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise Invalid("every property needs a name", where=where)
    column = item["name"]
    at = f"{where}.{column}"
    if column in types:
        raise Invalid(f"property {column!r} is declared twice", where=where)
    _known(item, odcs.PROPERTY, at)
    kind = item.get("logicalType")
    if kind is not None and kind not in (*odcs.TYPES, "map", "vector"):
        raise Invalid(f"{kind!r} is no logicalType", where=at, hint=nearest(str(kind), odcs.TYPES))
    types[column] = kind
    one = [column]
    if item.get("required") or item.get("primaryKey"):
        rules.append(Rule(name=f"{column} is not null", kind="required", columns=one))
    if item.get("unique"):
        rules.append(Rule(name=f"{column} is unique", kind="unique", columns=one))
    if enum := item.get("enum"):
        values = [entry["value"] if isinstance(entry, dict) else entry for entry in enum]
        rules.append(Rule(name=_among(column, values), kind="enum", columns=one, value=values))
    options = item.get("logicalTypeOptions") or {}
    _known(options, {*odcs.OPTIONS, *odcs.IGNORED_OPTIONS}, f"{at}.logicalTypeOptions")
    rules += [
        Rule(name=f"{column} {option} {value}", kind=option, columns=one, value=value)
        for option, value in options.items()
        if option in odcs.OPTIONS
    ]
    rules += [_quality(q, column, at) for q in item.get("quality") or [] if _checkable(q)]


def _is_personal(item: dict[str, Any]) -> bool:
    """Tell whether a property says of itself that it is about a person."""
    custom = [c for c in item.get("customProperties") or [] if isinstance(c, dict)]
    said = [item.get("classification"), *(item.get("tags") or [])]
    said += [c.get("property") for c in custom if _is_yes(c.get("value"))]
    said += [c.get("value") for c in custom if c.get("property") == "classification"]
    return any(_word(one) in odcs.PERSONAL for one in said)


def _is_yes(value: Any) -> bool:
    return value is True or str(value).strip().lower() in {"true", "yes", "1"}


def _word(said: Any) -> str:
    """Return a mark as `odcs.PERSONAL` has it: ``personalData`` and ``PERSONAL_DATA`` too."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(said))
    return " ".join(re.split(r"[\s_:-]+", apart)).strip().lower()


def _primary_key(table: dict[str, Any]) -> list[Rule]:
    keys = [p for p in table.get("properties") or [] if p.get("primaryKey")]
    if not keys:
        return []
    keys.sort(key=lambda p: p.get("primaryKeyPosition", -1))
    columns = [p["name"] for p in keys]
    if len(columns) == 1 and keys[0].get("unique"):
        return []
    return [Rule(name=f"{', '.join(columns)} is the primary key", kind="unique", columns=columns)]


def _checkable(quality: Any) -> bool:
    return not (isinstance(quality, dict) and quality.get("type") == "text")


def _quality(item: Any, column: str | None, where: str) -> Rule:
    if not isinstance(item, dict):
        raise Invalid("a quality rule must be a mapping", where=where)
    _known(item, odcs.QUALITY, f"{where}.quality")
    kind = item.get("type", "library")
    make = {"library": _library, "sql": _sql, "custom": _custom}.get(kind)
    if make is None:
        raise Invalid(
            f"{kind!r} is no type of quality rule",
            where=where,
            hint="library, sql, custom, text",
        )
    rule = make(item, column, where)
    severity = str(item.get("severity", "error")).lower()
    if severity not in ("error", "warning", "warn", "info"):
        raise Invalid(
            f"severity {severity!r} is not known",
            where=where,
            hint="error, warning or info",
        )
    return msgspec.structs.replace(
        rule,
        name=str(item.get("name") or rule.name),
        severity="error" if severity == "error" else "warning",
    )


def _library(item: dict[str, Any], column: str | None, where: str) -> Rule:
    metric = item.get("metric") or item.get("rule")
    if metric not in odcs.METRICS:
        raise Invalid(
            f"{metric!r} is no metric of a quality rule",
            where=where,
            hint=nearest(str(metric), odcs.METRICS),
        )
    arguments = item.get("arguments") or {}
    columns = [column] if column else list(arguments.get("properties") or [])
    if metric == "rowCount":
        return Rule(name="row count", kind=metric, columns=[], bound=_bound(item, where))
    if not columns:
        raise Invalid(
            f"{metric} of a table needs arguments.properties",
            where=where,
            hint="name the columns",
        )
    value, name = None, f"{', '.join(columns)} {metric}"
    if metric == "missingValues":
        value = arguments.get("missingValues", [None])
    if metric == "invalidValues":
        value, name = _validity(arguments, columns[0], where)
    return Rule(name=name, kind=metric, columns=columns, value=value, bound=_bound(item, where))


def _validity(arguments: dict[str, Any], column: str, where: str) -> tuple[dict[str, Any], str]:
    known = {"validValues", "pattern", "minimum", "maximum"}
    _known(arguments, known, f"{where}.arguments")
    if not arguments:
        raise Invalid("invalidValues needs arguments.validValues or pattern", where=where)
    if (values := arguments.get("validValues")) is not None:
        return arguments, _among(column, values)
    return arguments, f"{column} is valid"


def _sql(item: dict[str, Any], column: str | None, where: str) -> Rule:
    if not isinstance(item.get("query"), str):
        raise Invalid("a rule of type sql needs a query", where=where)
    query = item["query"].replace("${column}", column or "").replace("{column}", column or "")
    query = (
        query.replace("${table}", "self").replace("${object}", "self").replace("{object}", "self")
    )
    return Rule(name=query[:80], kind="sql", columns=[], value=query, bound=_bound(item, where))


def _custom(item: dict[str, Any], column: str | None, where: str) -> Rule:
    engine, expression = item.get("engine"), item.get("implementation")
    if engine != "polars" or not isinstance(expression, str):
        raise Invalid(
            f"a custom rule of engine {engine!r} cannot be checked here",
            where=where,
            hint="engine: polars, implementation: an SQL expression true for a good row",
        )
    columns = [column] if column else []
    return Rule(name=expression, kind="polars", columns=columns, value=expression)


def _bound(item: dict[str, Any], where: str) -> Bound:
    given = [operator for operator in odcs.OPERATORS if operator in item]
    if len(given) != 1:
        said = "no operator" if not given else f"both {' and '.join(given)}"
        raise Invalid(f"a quality rule has {said}", where=where, hint="exactly one, e.g. mustBe: 0")
    value = item[given[0]]
    numbers = value if given[0].endswith("Between") else [value]
    if not isinstance(numbers, list) or not all(
        isinstance(n, int | float) and not isinstance(n, bool) for n in numbers
    ):
        raise Invalid(f"{given[0]} must be a number, not {value!r}", where=where)
    unit = item.get("unit", "rows")
    if unit not in ("rows", "percent"):
        raise Invalid(f"unit {unit!r} is not known", where=where, hint="rows or percent")
    return Bound(operator=given[0], value=value, percent=unit == "percent")


def _among(column: str, values: list[Any]) -> str:
    if len(values) <= 4:
        return f"{column} is one of {', '.join(map(str, values))}"
    return f"{column} is one of {len(values)} values"


def _known(given: Any, known: set[str], where: str) -> None:
    if not isinstance(given, dict):
        raise Invalid(f"expected a mapping, found {given!r}", where=where)
    for key in given:
        if key not in known:
            raise Invalid(f"unknown key {key!r}", where=where, hint=nearest(str(key), known))
