"""“Did you mean”: the nearest of the names that exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was most likely meant to be, if any is near.

    Example:
        >>> nearest("lable", ["label", "time"])
        'label'
    """
    names = list(known)
    if len(name) > 200:
        return None
    lowered = {n.lower().replace("-", "_"): n for n in reversed(names)}
    found = get_close_matches(name.lower().replace("-", "_"), sorted(lowered), n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str], *, kind: str = "") -> str:
    """Return a hint: the nearest name and all there are (at most twelve shown).

    Example:
        >>> did_you_mean("lable", ["label", "time"])
        'did you mean “label”? There are: label, time'
    """
    names = list(known)
    listed = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    there = f"There are{' ' + kind if kind else ''}: {listed}" if names else ""
    near = nearest(name, names)
    if near is None:
        return there
    return f"did you mean “{near}”? {there}"
