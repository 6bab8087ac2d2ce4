"""Which versions can be asked for by number or alias, besides those that are deployed. Pure.

A policy is written in words, apart by commas: ``latest 2`` the two newest, ``all`` every one,
``4`` that one, any other word the version that this alias names: ``latest 2, champion``.
"""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.serve.entities import Names

_LATEST = re.compile(r"latest(?: ([1-9][0-9]{0,5}))?")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_MOST = 100  #: words


class Policy(Struct, frozen=True):
    """What a policy's words say."""

    every: bool = False
    latest: int = 0  #: how many of the newest
    numbers: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()


def read(text: str) -> Policy:
    """Read a policy.

    Raises:
        Invalid: If a word is none of them.

    Example:
        >>> read("latest 2, champion, 7")
        Policy(every=False, latest=2, numbers=(7,), aliases=('champion',))
    """
    every, latest = False, 0
    numbers: list[int] = []
    aliases: list[str] = []
    words = [" ".join(word.split()) for word in text.split(",") if word.strip()]
    for word in words[: _MOST + 1]:
        if word == "all":
            every = True
        elif (found := _LATEST.fullmatch(word)) is not None:
            latest = max(latest, int(found[1] or 1))
        elif _NUMBER.fullmatch(word):
            numbers.append(int(word))
        elif _ALIAS.fullmatch(word):
            aliases.append(word)
        else:
            raise Invalid(
                f"{word[:60]!r} names no versions",
                hint="write such as: latest 2, or all, or 1, 4, or an alias such as champion",
            )
    if len(words) > _MOST:
        raise Invalid(f"a policy of {len(words)} words", hint=f"write up to {_MOST}, or all")
    return Policy(every, latest, tuple(dict.fromkeys(numbers)), tuple(dict.fromkeys(aliases)))


def written(policy: Policy) -> str:
    """Write a policy as `read` takes it, always in the same order."""
    latest = [f"latest {policy.latest}"] if policy.latest else []
    words = [*latest, *map(str, sorted(policy.numbers)), *sorted(policy.aliases)]
    return (
        "all"
        if policy.every and not policy.aliases
        else ", ".join(["all", *sorted(policy.aliases)] if policy.every else words)
    )


def chosen(policy: Policy, known: Sequence[int], aliases: Mapping[str, int]) -> Names:
    """Return which versions a policy means now.

    Args:
        policy: What is wanted.
        known: Numbers of the versions that could serve.
        aliases: The version that each alias of the model names.

    Returns:
        Only versions that are known. All aliases of those can be asked for, also where the
        policy has them for another reason.
    """
    rising = sorted(known)
    named = {aliases[alias] for alias in policy.aliases if alias in aliases}
    newest = rising[-policy.latest :] if policy.latest else []
    wanted = set(rising) if policy.every else {*newest, *policy.numbers, *named}
    numbers = tuple(number for number in rising if number in wanted)
    return Names(numbers, {a: v for a, v in sorted(aliases.items()) if v in wanted & {*rising}})
