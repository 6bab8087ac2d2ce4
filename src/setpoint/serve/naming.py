"""Names of requests and their rows: what a client gave, or what is made up."""

from setpoint.errors import Invalid
from setpoint.serve import v2
from setpoint.serve.ids import maker

_prediction_ids = maker("prd")
_request_ids = maker("req")
_SUFFIXES = [f".{i}" for i in range(1_024)]  #: of the ids of a request's rows


def _numbered(made: str, count: int) -> list[str]:
    """Return an id for each of several rows."""
    if count > len(_SUFFIXES):
        return [f"{made}.{i}" for i in range(count)]
    return [made + suffix for suffix in _SUFFIXES[:count]]


def name(
    request_id: str, parameters: v2.Parameters | None, count: int, at_us: int
) -> tuple[str, list[str], list[str]]:
    """Return the request's id, the rows' prediction ids and the rows' routing keys."""
    ids = parameters.ids if parameters else None
    keys = parameters.keys if parameters else None
    for what, given in (("ids", ids), ("keys", keys)):
        if given is not None and len(given) != count:
            raise Invalid(
                f"{len(given)} {what} for {count} rows",
                where=f"$.parameters.{what}",
                hint=f"send one a row, or no {what}",
            )
    if ids is not None:
        v2.check_ids(ids, "$.parameters.ids", unique=True)
        request_id = request_id or _request_ids(at_us)
    else:
        made = _prediction_ids(at_us)
        ids = [made] if count == 1 else _numbered(made, count)
        request_id = request_id or made
    return request_id, ids, ids if keys is None else keys
