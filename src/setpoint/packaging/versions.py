"""Which version of a model is meant: ``churn`` (the live one), ``churn@candidate``, ``churn:3``."""

import difflib

from setpoint.core.operations import Backend
from setpoint.errors import Invalid, NotFound
from setpoint.models.entities import ModelVersion
from setpoint.models.names import split_version
from setpoint.models.service import ListModels, ShowModel, ls, show

LIVE = "live"


def version_of(backend: Backend, said: str) -> ModelVersion:
    """Return the version that is meant.

    Raises:
        NotFound: If there is no such model, alias or version; says which there are.
        Invalid: If a number is none.
    """
    model, sign, which = split_version(said)
    try:
        found = backend.call(show, ShowModel(model=model))
    except NotFound:
        known = [each.model for each in backend.call(ls, ListModels()).models]
        close = difflib.get_close_matches(model, known, n=1)
        there = f"there are: {', '.join(known)}" if known else "there is none yet: setpoint apply"
        raise NotFound(
            f"there is no model {model!r}",
            hint=f"did you mean {close[0]!r}?" if close else there,
        ) from None
    if sign == ":":
        number = _number(which)
    elif (which or LIVE) in found.aliases:
        number = found.aliases[which or LIVE]
    else:
        aliases = ", ".join(f"@{name}" for name in found.aliases) or "none"
        raise NotFound(
            f"no version of {model!r} is {which or LIVE!r}",
            hint=f"its aliases: {aliases}; or name a number: {model}:{len(found.versions)}",
        )
    for version in found.versions:
        if version.number == number:
            return version
    raise NotFound(
        f"there is no version {number} of {model!r}",
        hint=f"its versions: {', '.join(str(each.number) for each in found.versions) or 'none'}",
    )


def _number(which: str) -> int:
    if not which.isascii() or not which.isdigit():
        raise Invalid(f"{which!r} is no number of a version", hint="such as churn:3, churn@live")
    return int(which)
