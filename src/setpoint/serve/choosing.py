"""Who answers a request: what it is routed by, and whom a tester names.

A request says more than its body does: the headers of HTTP and the metadata of gRPC are at hand
here, whatever protocol it is of.
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from msgspec import Struct

from setpoint.errors import Invalid, NotFound
from setpoint.serve import v2
from setpoint.serve.arms import Arm
from setpoint.serve.endpoints import Endpoint
from setpoint.serve.entities import Role
from setpoint.serve.tensors import as_keys

ROUTE_HEADER = b"setpoint-route"

#: The headers of this request by their names in lower case, values as bytes or text.
told: ContextVar[Mapping[Any, Any]] = ContextVar("told", default={})  # noqa: B039 - never changed


class Tested(Struct, frozen=True):
    """Whom a tester named: one version is to answer all rows, and none is evidence."""

    name: str  #: its arm, or its part in a release
    version: int


#: Who is to answer all rows of a request: a version, or whom a tester named; 0: routing says.
Choice = int | Tested


def route_of(parameters: v2.Parameters | None) -> str:
    """Return whom a request names: by a parameter, or else by a header; empty: nobody."""
    if parameters is not None and parameters.route:
        return parameters.route
    headers = told.get()
    return header(ROUTE_HEADER) if headers else ""


def choice(endpoint: Endpoint, route: str, version: int) -> Choice:
    """Return who answers a request that names `route`, or a version by its address.

    Raises:
        NotFound: If nothing of that name is served here.
        Invalid: If it names two.
    """
    if not route:
        if version:
            _require(endpoint, version)
        return version
    found = _named(endpoint, route)
    if version and found.version != version:
        raise Invalid(
            f"the address names version {version}, the route {route!r} version {found.version}",
            hint="name one of them",
        )
    return found


def _require(endpoint: Endpoint, version: int) -> None:
    """Refuse a version that answers nobody; a shadow does not either."""
    answering = dict.fromkeys(
        each.version for each in endpoint.deployed if each.role is not Role.SHADOW
    )
    if version not in answering:
        raise NotFound(
            f"version {version} of {endpoint.model!r} does not answer here",
            hint=f"answering now: {', '.join(map(str, answering))}",
        )


def _named(endpoint: Endpoint, route: str) -> Tested:
    known = endpoint.routes
    if route in known:
        return Tested(route, known[route])
    by_number = {str(version): name for name, version in reversed(known.items())}
    if route in by_number:
        return Tested(by_number[route], int(route))
    raise NotFound(
        f"no arm or version of {endpoint.model!r} is {route[:60]!r}",
        hint=f"served now: {', '.join(f'{name} (version {v})' for name, v in known.items())}",
    )


def arm_of(endpoint: Endpoint, name: str) -> Arm | None:
    """Return the arm of a name, None if it is not served any more."""
    if name in _PARTS:
        found: Arm | None = getattr(endpoint, name)
        return found
    return next((arm for known, arm in endpoint.arms if known == name), None)


_PARTS = frozenset((Role.LIVE.value, Role.CANARY.value, Role.SHADOW.value))


def keys_of(endpoint: Endpoint, rows: v2.Rows, ids: Sequence[str]) -> Sequence[str]:
    """Return what the rows of a request are routed by that gives no keys, one a row.

    A row without what the endpoint's spec names is routed by its id.
    """
    settings = endpoint.settings
    if settings.key_header:
        sent = header(settings.key_header.encode())
        return [sent] * len(ids) if sent else ids
    if settings.key_field:
        return [key or id_ for key, id_ in zip(_field(endpoint, rows), ids, strict=True)]
    return ids


def _field(endpoint: Endpoint, rows: v2.Rows) -> Sequence[str | None]:
    name = endpoint.settings.key_field
    if name in rows.texts:
        return rows.texts[name]
    if name not in endpoint.inputs.numeric:
        return [None] * rows.count
    return as_keys(rows.values[:, endpoint.inputs.numeric.index(name)].tolist())


def header(name: bytes) -> str:
    """Return a header of this request, empty if it was not sent; names are in lower case."""
    headers = told.get()
    value = headers.get(name) or headers.get(name.decode())
    if not value:
        return ""
    return (value.decode("latin-1") if isinstance(value, bytes) else value).strip()
