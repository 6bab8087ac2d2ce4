"""Names people mistype: "did you mean"."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'origin'?`` or, with nothing close, the names there are."""
    names = sorted(known)
    if close := get_close_matches(name, names, n=1):
        return f"did you mean {close[0]!r}?"
    if not names:
        return ""
    shown = ", ".join(names[:12])
    return f"there is: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
