"""Keys that a spec may have and that nothing acts on yet: said aloud, never taken in silence."""

from setpoint.control.spec.entities import Spec

#: Every key that is declared, and what happens instead. Remove a line when it is enforced.
NOT_YET = {
    "privacy.subject": "the column is no feature; rows are not erased by it",
}


def unenforced(spec: Spec) -> list[str]:
    """Return the keys that this spec sets and nothing enforces yet, in the order above."""
    return [key for key in NOT_YET if _set(spec, key)]


def in_words(key: str) -> str:
    """Say of one such key what it does not do."""
    return f"declared, not enforced yet: {key} ({NOT_YET[key]})"


def _set(spec: Spec, key: str) -> bool:
    group, name = key.split(".")
    return getattr(getattr(spec, group), name) is not None
