"""Which names models and aliases may have."""

import re

from setpoint.errors import Invalid

ALIAS_LIMIT = 255  #: characters

_ALIAS = re.compile(r"[\w-]+")
_NUMBERED = re.compile(r"[vV]\d+")


def model_name(name: str) -> str:
    """Return `name` if a model may have it.

    Raises:
        Invalid: If it is empty, has a slash or outer spaces, or is a path such as ``..``.
    """
    if not name or "/" in name or name != name.strip() or name in {".", ".."}:
        raise Invalid(f"{name!r} is no model name", hint="no slash, no outer spaces")
    return name


def split_version(said: str) -> tuple[str, str, str]:
    """Return the model, the sign and the rest of what names one of its versions.

    Example:
        >>> split_version("churn"), split_version("churn@champion"), split_version("churn:3")
        (('churn', '', ''), ('churn', '@', 'champion'), ('churn', ':', '3'))
    """
    for sign in ("@", ":"):
        model, found, which = said.rpartition(sign)
        if found:
            return model, sign, which
    return said, "", ""


def alias_name(name: str) -> str:
    """Return `name` if an alias may have it.

    Raises:
        Invalid: If it has other characters than letters, digits, ``-`` and ``_``, is too long,
            or means something already: ``latest``, ``v3``.
    """
    if not _ALIAS.fullmatch(name) or len(name) > ALIAS_LIMIT:
        raise Invalid(
            f"{name[:300]!r} is no alias",
            hint=f"up to {ALIAS_LIMIT} letters, digits, - and _",
        )
    if name.lower() == "latest" or _NUMBERED.fullmatch(name):
        raise Invalid(
            f"the alias {name!r} means a version already",
            hint="'latest' is the newest version, 'v3' the third",
        )
    return name
