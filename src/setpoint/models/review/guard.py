"""Protected aliases: what must hold before one moves by hand.

Releases move ``live`` and ``candidate`` by their own evidence and approvals; this is about
people and foreign clients.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from setpoint.errors import Denied
from setpoint.models.review import rules, store


def require_approved(conn: Connection, model: str, alias: str, number: int) -> None:
    """Refuse to point a protected alias at a version that is not approved.

    Raises:
        Denied: Naming the roles whose approval is missing.
    """
    for each in store.protections(conn, model):
        if each.alias != alias:
            continue
        if not each.roles:
            raise Denied(
                f"alias {alias!r} of {model!r} is protected: it does not move by hand",
                hint=f"lift it: setpoint models unprotect {model} {alias} --reason TEXT",
            )
        missing = rules.lacking(each.roles, store.approvals(conn, model, number))
        if missing:
            raise Denied(
                f"version {number} of {model!r} lacks approval of {', '.join(missing)} "
                f"for the protected alias {alias!r}",
                hint=f"setpoint models approve {model} {number} --role {missing[0]} --reason TEXT",
            )


def require_free(conn: Connection, model: str, aliases: Iterable[str]) -> None:
    """Refuse to take away any protected alias among `aliases`.

    Raises:
        Denied: Naming the first of them.
    """
    protected = {each.alias for each in store.protections(conn, model)}
    for alias in sorted(protected & set(aliases)):
        raise Denied(
            f"alias {alias!r} of {model!r} is protected",
            hint=f"lift it first: setpoint models unprotect {model} {alias} --reason TEXT",
        )
