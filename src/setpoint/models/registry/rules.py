"""What follows from what the registry knows. Values in, decisions out."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from setpoint.errors import Invalid
from setpoint.models.entities import ModelVersion
from setpoint.models.registry.entities import Keep, Stage

TAG_KEY_LIMIT = 250  #: characters
TAG_VALUE_LIMIT = 100_000  #: characters: a prompt's text is the value of a tag

#: Aliases that the platform itself moves, over versions that answer requests.
_SERVING = frozenset({"live", "candidate"})
ARM = "arm-"  #: before the name of an arm of a test, in an alias


def serves(alias: str) -> bool:
    """Tell whether the platform itself moves an alias, over a version that answers requests."""
    return alias in _SERVING or alias.startswith(ARM)


def stage(text: str) -> Stage:
    """Return the stage that a client means, in any case of letters.

    Raises:
        Invalid: If there is no such stage.
    """
    for each in Stage:
        if each.lower() == text.lower():
            return each
    raise Invalid(f"there is no stage {text!r}", hint=f"one of {', '.join(Stage)}")


def check_tags(tags: dict[str, str]) -> None:
    """Refuse tags that are empty or too long.

    Raises:
        Invalid: Naming the first key that cannot be.
    """
    for key, value in tags.items():
        if not key.strip():
            raise Invalid("a tag needs a key")
        if len(key) > TAG_KEY_LIMIT:
            raise Invalid(f"the key of tag {key[:40]!r}… is longer than {TAG_KEY_LIMIT} characters")
        if len(value) > TAG_VALUE_LIMIT:
            raise Invalid(f"the value of tag {key!r} is longer than {TAG_VALUE_LIMIT:,} characters")


def keeps_name(versions: Iterable[ModelVersion]) -> bool:
    """Tell whether a deleted model's name stays with it when a new one is made.

    It does if a version was trained here: releases and predictions speak of those by name
    and number, so that numbers must go on rather than begin again.
    """
    return any(each.trained_here for each in versions)


def holds(keep: Keep) -> bool:
    """Tell whether a rule of keeping is one: its parts, where given, are 1 or more."""
    return all(part is None or part >= 1 for part in (keep.newest, keep.days))


def outlived(
    versions: Sequence[ModelVersion], named: Iterable[int], keep: Keep, now: datetime
) -> list[int]:
    """Return the numbers of the versions that a rule of keeping lets go, oldest first.

    A version stays as long as either part of the rule says so. One that an alias names, or
    that nobody has had the time to name (it is the newest), always stays.

    Args:
        versions: Those of one model that are not deleted.
        named: Numbers that an alias names.
        keep: The rule; without any part it lets nothing go.
        now: The time.
    """
    if keep.newest is None and keep.days is None:
        return []
    ordered = sorted(versions, key=lambda each: each.number, reverse=True)
    safe = {*named, *(each.number for each in ordered[: max(keep.newest or 0, 1)])}
    if keep.days is not None:
        young = now - timedelta(days=keep.days)
        safe |= {each.number for each in ordered if each.created_at > young}
    return sorted(each.number for each in ordered if each.number not in safe)
