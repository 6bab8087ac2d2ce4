"""Models and versions are found by what is said of them, page by page."""

from datetime import timedelta

import pytest

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.models import service as models
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.search import service


@pytest.fixture
def several(backend: LocalBackend, clock: ManualClock) -> LocalBackend:
    """Three models of two versions each, a minute apart; and a prompt of one."""
    for name, team in (("alpha", "risk"), ("Beta 50%", "law"), ("gamma_1", "risk")):
        clock.advance(timedelta(minutes=1))
        tags = {"team": team, "size": "10"}
        backend.call(registry.create, commands.CreateModel(model=name, tags=tags))
        for number in (1, 2):
            cmd = commands.AddVersion(
                model=name,
                source=f"s3://{name}/{number}",
                run_id=f"run-{name[0]}",
                tags={"n": str(number)},
            )
            backend.call(registry.add_version, cmd)
    alias = models.SetAlias(model="gamma_1", alias="champion", number=2, reason="")
    backend.call(models.alias, alias)
    tags = {"mlflow.prompt.is_prompt": "true"}
    backend.call(registry.create, commands.CreateModel(model="hello", tags=tags))
    prompt = commands.AddVersion(model="hello", source="dummy", tags=tags)
    backend.call(registry.add_version, prompt)
    return backend


def names(backend: LocalBackend, text: str, *order: str, limit: int = 100) -> list[str]:
    token, found = "", list[str]()
    while True:
        cmd = service.SearchModels(filter=text, order=list(order), limit=limit, token=token)
        page = backend.call(service.search, cmd)
        found += [each.model for each in page.models]
        token = page.next
        if not token:
            return found


def versions(backend: LocalBackend, text: str, *order: str) -> list[str]:
    cmd = service.SearchVersions(filter=text, order=list(order))
    found = backend.call(service.search_versions, cmd).versions
    return [f"{each.version.model[0]}{each.version.number}" for each in found]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["Beta 50%", "alpha", "gamma_1"]),
        ("name = 'alpha'", ["alpha"]),
        ("name LIKE 'A%'", []),
        ("name ILIKE 'A%'", ["alpha"]),
        ("name ILIKE '%50\\%'", []),
        ("tags.team = 'risk'", ["alpha", "gamma_1"]),
        ("tags.team != 'risk'", ["Beta 50%"]),
        ("tags.team = 'risk' AND NOT name = 'alpha'", ["gamma_1"]),
        ("tags.nothing IS NULL AND name IN ('alpha', 'x')", ["alpha"]),
        ("aliases.champion IS NOT NULL", ["gamma_1"]),
        ("aliases.champion = 1", []),
        ("creation_timestamp > '2026-01-01T12:02:30Z'", ["gamma_1"]),
        ("tags.`mlflow.prompt.is_prompt` = 'true'", ["hello"]),
        ("tags.`mlflow.prompt.is_prompt` != 'true'", ["Beta 50%", "alpha", "gamma_1"]),
    ],
)
def test_models_are_found_by_any_filter(several: LocalBackend, text: str, found: list[str]) -> None:
    assert sorted(names(several, text)) == found


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_are_whole_and_in_order(several: LocalBackend, limit: int) -> None:
    newest = names(several, "", "last_updated_timestamp DESC", limit=limit)
    assert newest == ["gamma_1", "Beta 50%", "alpha"]
    assert names(several, "", "tags.team", "name DESC", limit=limit) == [
        "Beta 50%",
        "gamma_1",
        "alpha",
    ]
    assert names(several, "", "aliases.champion", "name DESC", limit=limit)[0] == "gamma_1"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name = 'alpha'", ["a2", "a1"]),
        ("version_number = 2", ["g2", "B2", "a2"]),
        ("run_id IN ('run-a', 'run-g') AND tags.n = '1'", ["g1", "a1"]),
        ("source_path LIKE 's3://gamma%'", ["g2", "g1"]),
        ("aliases.champion > 0", ["g2"]),
        ("stage = 'None' AND status = 'READY' AND version = 1 AND name != 'alpha'", ["g1", "B1"]),
        ("tags.`mlflow.prompt.is_prompt` = 'true'", ["h1"]),
    ],
)
def test_versions_are_found_the_last_changed_first(
    several: LocalBackend, text: str, found: list[str]
) -> None:
    assert versions(several, text) == found


def test_versions_are_ordered_as_asked(several: LocalBackend) -> None:
    assert versions(several, "version_number = 1", "name ASC") in (
        ["B1", "a1", "g1"],
        ["a1", "B1", "g1"],  # where the database sorts by the rules of a language
    )
    assert versions(several, "", "version_number ASC", "creation_timestamp DESC")[:2] == [
        "g1",
        "B1",
    ]


def test_what_is_deleted_is_found_only_by_those_who_ask(several: LocalBackend) -> None:
    several.call(registry.delete_version, commands.DeleteVersion(model="alpha", number=1))
    several.call(registry.delete, commands.DeleteModel(model="gamma_1"))
    assert "gamma_1" not in names(several, "")
    assert versions(several, "name = 'alpha'") == ["a2"]
    gone = several.call(service.search, service.SearchModels(deleted=True)).models
    assert [each.model for each in gone] == ["gamma_1"]
    cmd = service.SearchVersions(deleted=True, filter="name = 'alpha'")
    found = several.call(service.search_versions, cmd).versions
    assert [each.version.number for each in found] == [1]


def test_a_filter_that_is_wrong_says_where_and_what_was_meant(several: LocalBackend) -> None:
    with pytest.raises(Invalid) as caught:
        names(several, "nam = 'x'")
    assert "did you mean name" in caught.value.hint
    with pytest.raises(Invalid, match="0"):
        several.call(service.search, service.SearchModels(limit=0))
