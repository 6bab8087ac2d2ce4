"""Answering a GraphQL document: parsed and checked once, run in one transaction.

A field is answered by the attribute or method of the same name, in Python's spelling, of the
object that stands for its type; arguments become keyword arguments. Fields that lead from one
type to another, and all changes, are functions in a table of their own (`answers`).
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationType,
    build_schema,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
)

from setpoint.errors import Invalid, SetpointError
from setpoint.server import problems
from setpoint.server.wandb.asked import Parsed, Question

_log = logging.getLogger(__name__)

#: Names and signs in a document, all in all. The client's longest has 400.
_TOKENS = 4_000

_BEFORE_A_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Answer(NamedTuple):
    status: int
    content: dict[str, Any]


class _Failed(Exception):
    """Ends the transaction of a change that failed, with nothing written."""

    def __init__(self, result: ExecutionResult) -> None:
        self.result = result


#: Opens the root object of a document, in a transaction; told whether it may change anything.
Opens = Callable[[bool], AbstractContextManager[object]]

#: By ``Type.field``: what answers it, given the object and the arguments.
Links = Mapping[str, Callable[..., Any]]


def build(links: Links) -> GraphQLSchema:
    """Return the schema of `schema.graphql`, with fields that functions answer."""
    made = build_schema(Path(__file__).with_name("schema.graphql").read_text())
    text: Any = made.type_map["JSONString"]
    text.coerce_input_value = _json
    time: Any = made.type_map["DateTime"]
    time.coerce_output_value = _written
    for place, function in links.items():
        kind, _, name = place.partition(".")
        owner: Any = made.type_map[kind]
        owner.fields[name].resolve = _calling(function)
    return made


def answer(schema: GraphQLSchema, question: Question, opens: Opens) -> Answer:
    """Run a document against the object that `opens` gives; a change is whole or not at all."""
    document = _document(schema, question.query)
    if not isinstance(document, DocumentNode):
        return Answer(400, {"errors": [error.formatted for error in document]})
    name = question.operation_name or None
    operation = get_operation_ast(document, name)
    if operation is None:
        raise Invalid("the document has no such operation", where=question.operation_name or "")
    changes = operation.operation is OperationType.MUTATION
    try:
        with opens(changes) as root:
            result = execute_sync(
                schema,
                document,
                root_value=root,
                variable_values=_said(question.variables or {}),
                operation_name=name,
                field_resolver=_resolve,
                type_resolver=_type_of,
            )
            _whole_or_nothing(result, changes=changes)
    except _Failed as failed:
        result = failed.result
    return _answered(result)


def _whole_or_nothing(result: ExecutionResult, *, changes: bool) -> None:
    if result.errors and changes:
        raise _Failed(result)


def _said(value: Any) -> Any:
    """Return variables without the nulls in them.

    The client sends every field that its newest server knows; those it has nothing to say
    of are null, and need not be known here.
    """
    if isinstance(value, dict):
        return {name: _said(found) for name, found in value.items() if found is not None}
    return [_said(item) for item in value] if isinstance(value, list) else value


def _answered(result: ExecutionResult) -> Answer:
    content: dict[str, Any] = {"data": result.data}
    if not result.errors:
        return Answer(200, content)
    content["errors"] = [_told(error) for error in result.errors]
    causes = [_cause(error) for error in result.errors]
    known = [cause for cause in causes if isinstance(cause, SetpointError)]
    if known and len(known) == len(causes):
        return Answer(problems.status_of(known[0]), content)
    # What is wrong with variables is told by GraphQL itself, without a cause.
    return Answer(500 if any(causes) else 400, content)


def _cause(error: GraphQLError) -> Exception | None:
    """Return what was raised outside GraphQL, if anything was."""
    cause = error.original_error
    return None if isinstance(cause, GraphQLError) else cause


def _told(error: GraphQLError) -> dict[str, Any]:
    cause = _cause(error)
    told: dict[str, Any] = dict(error.formatted)
    if isinstance(cause, SetpointError):
        told["extensions"] = {"code": cause.code, "hint": cause.hint}
    elif cause is not None:
        _log.error("a field failed", exc_info=cause, extra={"path": error.path})
        told["message"] = problems.internal().message
    return told


def _json(value: Any) -> Parsed:
    """Read JSON sent as text, Python's way: NaN and infinities are numbers."""
    try:
        return Parsed(json.loads(value))
    except (TypeError, ValueError) as error:
        raise GraphQLError(f"this is no JSON: {error}") from None


def _written(value: Any) -> str:
    if not isinstance(value, datetime):
        raise GraphQLError(f"{value!r} is no time")
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=512)
def _document(schema: GraphQLSchema, text: str) -> DocumentNode | list[GraphQLError]:
    """Return the parsed document, or what is wrong with it. The client sends few different."""
    try:
        document = parse(text, max_tokens=_TOKENS)
    except GraphQLError as error:
        return [error]
    return validate(schema, document) or document


def _resolve(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    name = snake(info.field_name)
    found = source[name] if isinstance(source, dict) else getattr(source, name)
    return found(**_spelled(arguments)) if callable(found) else found


def _calling(function: Callable[..., Any]) -> Callable[..., Any]:
    def resolve(source: Any, _: Any, **arguments: Any) -> Any:
        return function(source, **_spelled(arguments))

    return resolve


def _spelled(value: Any) -> Any:
    """Return arguments with their names, and those inside them, in Python's spelling."""
    if isinstance(value, dict):
        return {snake(name): _spelled(found) for name, found in value.items()}
    return [_spelled(item) for item in value] if isinstance(value, list) else value


def _type_of(value: Any, *_: Any) -> str:
    name: str = value.typename
    return name


@cache
def snake(name: str) -> str:
    """Return a GraphQL name in Python's spelling: ``artifactID`` is ``artifact_id``."""
    return _BEFORE_A_WORD.sub("_", name).lower()
