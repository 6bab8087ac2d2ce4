"""A registry of models from anywhere: made, described, tagged, staged, deleted, brought back."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.models.conftest import Adds, Trains

from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.events import store as events
from setpoint.models import service
from setpoint.models.registry import commands, rules
from setpoint.models.registry import service as registry
from setpoint.models.registry.entities import Keep, Model, Stage


def made(backend: LocalBackend, model: str = "guest", **fields: object) -> Model:
    cmd = commands.CreateModel(model=model, **fields)  # type: ignore[arg-type]
    return backend.call(registry.create, cmd)


def about(backend: LocalBackend, model: str = "guest") -> Model:
    return backend.call(registry.about, commands.OneModel(model=model))


def numbers(backend: LocalBackend, model: str = "guest") -> list[int]:
    shown = backend.call(service.show, service.ShowModel(model=model))
    return [each.number for each in shown.versions]


def test_a_model_without_versions_comes_back_as_it_was_made(backend: LocalBackend) -> None:
    model = made(backend, "Grüße 🛫 'x'", description="d" * 10_000, tags={"team": "a b", "x": ""})
    assert about(backend, "Grüße 🛫 'x'") == model
    assert (model.versions, model.tags) == (0, {"team": "a b", "x": ""})
    assert numbers(backend, "Grüße 🛫 'x'") == []


def test_a_name_is_taken_once_even_by_many_at_once(backend: LocalBackend) -> None:
    def attempt(_: int) -> bool:
        try:
            made(backend)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


@pytest.mark.parametrize("name", ["", " x", "a/b", "..", "."])
def test_names_that_lead_elsewhere_are_refused(backend: LocalBackend, name: str) -> None:
    with pytest.raises(Invalid):
        made(backend, name)


def test_a_version_from_elsewhere_is_kept_but_may_not_serve(
    backend: LocalBackend, add: Adds
) -> None:
    entry = add(
        source="mlflow-artifacts:/0/r/artifacts/model",
        run_id="r",
        run_link="http://elsewhere/r",
        tags={"k": "v"},
        description="by hand",
    )
    assert entry == backend.call(registry.version, commands.OneVersion(model="guest", number=1))
    assert not entry.version.may_serve
    assert not entry.version.trained_here
    assert (entry.tags, entry.version.source) == (
        {"k": "v"},
        "mlflow-artifacts:/0/r/artifacts/model",
    )


def test_nobody_can_override_that_there_is_nothing_to_serve(
    backend: LocalBackend, add: Adds, train: Trains
) -> None:
    add()
    cmd = service.OverrideGate(model="guest", number=1, reason="I want it")
    with pytest.raises(Conflict, match="from elsewhere"):
        backend.call(service.override, cmd)
    train()
    forced = service.OverrideGate(model="late", number=1, reason="I want it")
    assert backend.call(service.override, forced).may_serve
    backend.call(registry.delete_version, commands.DeleteVersion(model="late", number=1))
    assert not backend.call(service.get, service.Which(model="late", number=1)).may_serve


def test_one_run_may_register_several_versions_elsewhere(add: Adds) -> None:
    assert [add(run_id="r").version.number for _ in range(3)] == [1, 2, 3]


def test_numbers_are_consecutive_when_many_register_at_once(
    backend: LocalBackend, add: Adds
) -> None:
    made(backend)
    cmd = commands.AddVersion(model="guest", source="s")
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: backend.call(registry.add_version, cmd), range(12))
    assert sorted(each.version.number for each in found) == list(range(1, 13))


def test_descriptions_tags_and_status_change_and_are_recorded(
    backend: LocalBackend, add: Adds
) -> None:
    add()
    backend.call(registry.update, commands.UpdateModel(model="guest", description="new"))
    changed = backend.call(
        registry.update_version,
        commands.UpdateVersion(model="guest", number=1, status="failed", status_message="no file"),
    )
    assert (changed.version.status, changed.version.status_message) == ("failed", "no file")
    tags = commands.SetTags(model="guest", tags={"a": "1", "b": "2"}, untag=["b", "c"])
    assert backend.call(registry.tag, tags).tags == {"a": "1"}
    of_version = commands.SetTags(model="guest", number=1, tags={"a": "x" * 100_000})
    assert backend.call(registry.tag, of_version).tags == {"a": "x" * 100_000}
    model = about(backend)
    assert (model.description, model.tags) == ("new", {"a": "1"})
    with backend.engine.begin() as conn:
        kinds = [each.kind for each in events.since(conn, kind="model.")]
    assert kinds == [
        "model.created",
        "model.registered",
        "model.updated",
        "model.version_updated",
        "model.tagged",
        "model.tagged",
        "model.untagged",
        "model.tagged",
    ]


@pytest.mark.parametrize("tags", [{"": "v"}, {"k" * 251: "v"}, {"k": "v" * 100_001}])
def test_tags_beyond_their_limits_are_refused(backend: LocalBackend, tags: dict[str, str]) -> None:
    made(backend)
    with pytest.raises(Invalid):
        backend.call(registry.tag, commands.SetTags(model="guest", tags=tags))


def test_a_renamed_model_keeps_versions_aliases_and_tags(backend: LocalBackend, add: Adds) -> None:
    add(tags={"k": "v"})
    cmd = service.SetAlias(model="guest", alias="champion", number=1, reason="best")
    backend.call(service.alias, cmd)
    backend.call(registry.rename, commands.RenameModel(model="guest", new="friend"))
    model = about(backend, "friend")
    assert model.aliases == {"champion": 1}
    entry = backend.call(registry.version, commands.OneVersion(model="friend", number=1))
    assert (entry.tags, entry.aliases) == ({"k": "v"}, ["champion"])
    with pytest.raises(NotFound):
        about(backend, "guest")


def test_what_was_trained_here_keeps_its_name(backend: LocalBackend, train: Trains) -> None:
    train()
    with pytest.raises(Conflict, match="trained here"):
        backend.call(registry.rename, commands.RenameModel(model="late", new="early"))


def test_a_name_in_use_is_not_given_again(backend: LocalBackend, add: Adds) -> None:
    add()
    add("friend")
    with pytest.raises(Conflict):
        backend.call(registry.rename, commands.RenameModel(model="guest", new="friend"))


def test_a_deleted_model_is_gone_from_lists_and_comes_back_whole(
    backend: LocalBackend, add: Adds, clock: ManualClock
) -> None:
    add()
    add()
    backend.call(registry.delete_version, commands.DeleteVersion(model="guest", number=1))
    clock.advance(timedelta(seconds=60))
    backend.call(registry.delete, commands.DeleteModel(model="guest", reason="old"))
    assert backend.call(service.ls, service.ListModels()).models == []
    with pytest.raises(NotFound):
        about(backend)
    with pytest.raises(NotFound):
        backend.call(registry.version, commands.OneVersion(model="guest", number=2))
    backend.call(registry.restore, commands.OneModel(model="guest"))
    assert numbers(backend) == [2]


def test_a_deleted_name_is_free_and_numbers_begin_again(backend: LocalBackend, add: Adds) -> None:
    add()
    backend.call(registry.delete, commands.DeleteModel(model="guest"))
    assert add().version.number == 1
    assert numbers(backend) == [1]


def test_numbers_go_on_where_versions_were_trained_here(
    backend: LocalBackend, train: Trains, add: Adds
) -> None:
    train()
    backend.call(registry.delete, commands.DeleteModel(model="late"))
    made(backend, "late")
    assert numbers(backend, "late") == []
    assert train().number == 2


def test_what_serves_is_not_deleted(backend: LocalBackend, train: Trains) -> None:
    train()
    cmd = service.SetAlias(model="late", alias="live", number=1, reason="first")
    backend.call(service.alias, cmd)
    with pytest.raises(Conflict, match="it serves"):
        backend.call(registry.delete_version, commands.DeleteVersion(model="late", number=1))
    with pytest.raises(Conflict, match="it serves"):
        backend.call(registry.delete, commands.DeleteModel(model="late"))


def test_a_deleted_version_loses_its_aliases_and_can_return(
    backend: LocalBackend, add: Adds
) -> None:
    add()
    cmd = service.SetAlias(model="guest", alias="champion", number=1, reason="best")
    backend.call(service.alias, cmd)
    backend.call(registry.delete_version, commands.DeleteVersion(model="guest", number=1))
    assert about(backend).aliases == {}
    with pytest.raises(NotFound, match="deleted"):
        backend.call(service.alias, cmd)
    backend.call(registry.restore_version, commands.OneVersion(model="guest", number=1))
    assert numbers(backend) == [1]
    assert add().version.number == 2


def test_stages_archive_who_was_there(backend: LocalBackend, add: Adds) -> None:
    add()
    add()
    for number in (1, 2):
        cmd = commands.MoveToStage(
            model="guest", number=number, stage=Stage.PRODUCTION, archive=True
        )
        backend.call(registry.move_to_stage, cmd)
    found = backend.call(registry.latest, commands.LatestVersions(models=["guest"])).versions
    stages = {each.version.stage: each.version.number for each in found["guest"]}
    assert stages == {"Archived": 1, "Production": 2}
    cmd = commands.MoveToStage(model="guest", number=1, stage=Stage.ARCHIVED, archive=True)
    with pytest.raises(Invalid):
        backend.call(registry.move_to_stage, cmd)


def test_the_newest_of_every_stage_of_many_models_comes_at_once(
    backend: LocalBackend, add: Adds
) -> None:
    for model in ("a", "b"):
        for _ in range(2):
            add(model, tags={"of": model})
    cmd = commands.LatestVersions(models=["a", "b", "none"])
    found = backend.call(registry.latest, cmd).versions
    assert [(e.version.number, e.tags) for e in found["a"]] == [(2, {"of": "a"})]
    assert found["none"] == []


def test_a_rule_of_keeping_must_keep_something(backend: LocalBackend) -> None:
    made(backend)
    backend.call(registry.update, commands.UpdateModel(model="guest", keep=Keep(newest=3, days=30)))
    assert about(backend).keep == Keep(newest=3, days=30)
    backend.call(registry.update, commands.UpdateModel(model="guest", keep=None))
    assert about(backend).keep is None
    with pytest.raises(Invalid):
        backend.call(registry.update, commands.UpdateModel(model="guest", keep=Keep(newest=0)))


@pytest.mark.parametrize(("text", "stage"), [("production", "Production"), ("NONE", "None")])
def test_a_stage_is_meant_in_any_case(text: str, stage: str) -> None:
    assert rules.stage(text) == stage


def test_a_stage_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(Invalid, match="there is no stage") as caught:
        rules.stage("live")
    assert "Staging" in caught.value.hint
