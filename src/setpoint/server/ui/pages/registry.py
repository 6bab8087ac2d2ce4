"""Which models are there, and what people say of each: names, rules, descriptions."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup
from msgspec import Struct

from setpoint.errors import Invalid, SetpointError
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.registry.aliases import alias_history, unalias
from setpoint.models.registry.commands import OneModel
from setpoint.models.registry.entities import Entry, Keep, Model, Move
from setpoint.models.review.entities import Asked, Protection
from setpoint.models.review.service import (
    ListAsked,
    Protect,
    ProtectedAliases,
    Unprotect,
    asked,
    protect,
    protections,
    unprotect,
)
from setpoint.models.search.service import SearchModels, SearchVersions, search, search_versions
from setpoint.models.service import SetAlias, alias
from setpoint.server.ui import markdown, words
from setpoint.server.ui.page import Ask, Page, Redirect, Table

_LISTED = 200
_MOVES = 50
#: What tells a filter from words to look for.
_FILTER = re.compile(r"[=<>]|\b(?:I?LIKE|IN|IS)\b", re.IGNORECASE)


class Named(Struct, frozen=True, kw_only=True):
    """An alias of a model, as its page shows it."""

    alias: str
    number: int | None  #: None: it is protected, but names no version
    moved: Move | None  #: who pointed it there
    protection: Protection | None


class About(Struct, frozen=True, kw_only=True):
    """What people say of a model as a whole."""

    model: Model
    html: Markup  #: its description
    names: list[Named]
    moves: list[Move]
    asked: list[Asked]
    deleted: list[Entry]  #: versions that can be restored
    editing: bool


def models(ask: Ask) -> Page:
    """Answer "which models are there?"."""
    text, deleted = ask.query.get("q", "").strip(), ask.query.get("view") == "deleted"
    error: SetpointError | None = None
    found: list[Model] = []
    following = ""
    try:
        cmd = SearchModels(
            filter=_filter(text),
            order=["last_updated_timestamp DESC"],
            deleted=deleted,
            limit=_LISTED,
            token=ask.query.get("token", ""),
        )
        page = ask.call(search, cmd)
        found, following = page.models, page.next
    except Invalid as wrong:
        error = wrong
    waiting = _by_model(ask.call(asked, ListAsked()).asked)
    return Page(
        template="models.html",
        title="Models",
        active="Models",
        status=400 if error else 200,
        values={
            "models": found,
            "text": text,
            "deleted": deleted,
            "error": error,
            "waiting": waiting,
            "heading": _heading(len(found), text=text, deleted=deleted, more=bool(following)),
            "next": "/models?" + urlencode({**ask.query, "token": following}) if following else "",
        },
        tables={
            "models": Table(
                columns=["model", "versions", "aliases", "tags", "description", "changed", "made"],
                rows=[
                    [
                        *(m.model, m.versions, m.aliases, m.tags),
                        *(m.description, m.updated_at, m.created_at),
                    ]
                    for m in found
                ],
            )
        },
    )


def _filter(text: str) -> str:
    """Return the filter that is meant: plain words look for a part of a name."""
    if not text or _FILTER.search(text):
        return text
    return "name ILIKE '%{}%'".format(text.replace("'", "''"))


def _heading(count: int, *, text: str, deleted: bool, more: bool) -> str:
    if not count:
        return "No model is like that" if text else "Models"
    noun = f"{'deleted ' if deleted else ''}model{'' if count == 1 else 's'}"
    return f"{count}{' and more' if more else ''} {noun}"


def _by_model(waiting: list[Asked]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in waiting:
        counts[each.model] = counts.get(each.model, 0) + 1
    return counts


def about(ask: Ask, name: str) -> About:
    """Return what is said of a model, for its page."""
    model: Model = ask.call(registry.about, OneModel(model=name))
    moves = ask.call(alias_history, commands.AliasHistory(model=name, limit=_MOVES)).moves
    gone = SearchVersions(filter="name = '{}'".format(name.replace("'", "''")), deleted=True)
    return About(
        model=model,
        html=markdown.render(model.description, person=words.person),
        names=_names(model, moves, ask.call(protections, ProtectedAliases(model=name)).protections),
        moves=moves,
        asked=ask.call(asked, ListAsked(model=name)).asked,
        deleted=ask.call(search_versions, gone).versions,
        editing="describe" in ask.query,
    )


def _names(model: Model, moves: list[Move], protected: list[Protection]) -> list[Named]:
    newest: dict[str, Move] = {}
    for move in moves:
        newest.setdefault(move.alias, move)
    guards = {each.alias: each for each in protected}
    return [
        Named(
            alias=name,
            number=model.aliases.get(name),
            moved=newest.get(name),
            protection=guards.get(name),
        )
        for name in sorted({*model.aliases, *guards})
    ]


def saved(about: About) -> dict[str, Table]:
    """Return the tables of what is said of a model."""
    return {
        "aliases": Table(
            columns=["at", "alias", "was", "number", "actor", "reason"],
            rows=[[m.at, m.alias, m.was, m.number, m.actor, m.reason] for m in about.moves],
        )
    }


def change(ask: Ask) -> Redirect:
    """Do to a model what the form says."""
    name, what = ask.params["model"], ask.form.get("do", "")
    if what not in _CHANGES:
        raise Invalid(f"a model cannot be changed by {what!r}", hint=", ".join(_CHANGES))
    path = _CHANGES[what](ask, name)
    return Redirect(to=path or f"/models/{quote(name)}")


def _alias(ask: Ask, model: str) -> None:
    ask.call(
        alias,
        SetAlias(
            model=model,
            alias=ask.form.get("alias", "").strip(),
            number=number_in(ask, "number"),
            reason=reason_in(ask),
        ),
    )


def _unalias(ask: Ask, model: str) -> None:
    name = ask.form.get("alias", "").strip()
    ask.call(unalias, commands.DropAlias(model=model, alias=name, reason=reason_in(ask)))


def _protect(ask: Ask, model: str) -> None:
    roles = [part.strip() for part in ask.form.get("roles", "").split(",") if part.strip()]
    name = ask.form.get("alias", "").strip()
    ask.call(protect, Protect(model=model, alias=name, roles=roles, reason=reason_in(ask)))


def _unprotect(ask: Ask, model: str) -> None:
    name = ask.form.get("alias", "").strip()
    ask.call(unprotect, Unprotect(model=model, alias=name, reason=reason_in(ask)))


def _describe(ask: Ask, model: str) -> None:
    text = ask.form.get("text", "").replace("\r\n", "\n").strip()
    ask.call(registry.update, commands.UpdateModel(model=model, description=text))


def _keep(ask: Ask, model: str) -> None:
    newest, days = ask.form.get("newest", "").strip(), ask.form.get("days", "").strip()
    keep = None
    if newest or days:
        keep = Keep(
            newest=number_in(ask, "newest") if newest else None,
            days=number_in(ask, "days") if days else None,
        )
    ask.call(registry.update, commands.UpdateModel(model=model, keep=keep))


def _tag(ask: Ask, model: str) -> None:
    ask.call(registry.tag, commands.SetTags(model=model, **tags_in(ask)))


def _rename(ask: Ask, model: str) -> str:
    cmd = commands.RenameModel(model=model, new=ask.form.get("name", "").strip())
    ask.call(registry.rename, cmd)
    return f"/models/{quote(cmd.new)}"


def _delete(ask: Ask, model: str) -> str:
    ask.call(registry.delete, commands.DeleteModel(model=model, reason=reason_in(ask)))
    return "/models?view=deleted"


def _restore(ask: Ask, model: str) -> None:
    ask.call(registry.restore, OneModel(model=model))


_CHANGES: dict[str, Callable[[Ask, str], str | None]] = {
    "alias": _alias,
    "unalias": _unalias,
    "protect": _protect,
    "unprotect": _unprotect,
    "describe": _describe,
    "keep": _keep,
    "tag": _tag,
    "untag": _tag,
    "rename": _rename,
    "delete": _delete,
    "restore": _restore,
}


def number_in(ask: Ask, name: str) -> int:
    """Return the whole number that a field of the form holds.

    Raises:
        Invalid: If it holds none.
    """
    text = ask.form.get(name, "").strip()
    if not text.isdecimal():
        raise Invalid(f"{text!r} is no whole number", where=name, hint="digits only, e.g. 3")
    return int(text)


def reason_in(ask: Ask) -> str:
    """Return the reason that the form holds.

    Raises:
        Invalid: If it holds none: whoever reads the record later has nothing else.
    """
    reason = ask.form.get("reason", "").strip()
    if not reason:
        raise Invalid("say why", hint="a few words; they stay on record")
    return reason


def tags_in(ask: Ask) -> dict[str, Any]:
    """Return the tag that the form sets or removes, as the operation takes it.

    Raises:
        Invalid: If what it sets is no tag.
    """
    text = ask.form.get("tag", "")
    if ask.form.get("do") == "untag":
        return {"untag": [text]}
    key, sign, value = text.partition("=")
    if not sign or not key.strip():
        raise Invalid("this is not a tag", hint="write name=value, e.g. team=risk")
    return {"tags": {key.strip(): value.strip()}}
