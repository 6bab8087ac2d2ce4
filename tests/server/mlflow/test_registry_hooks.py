"""Every change in the registry that MLflow's webhooks can tell of is told in their words."""

import json
from typing import Any

import pytest

from setpoint.db.local import LocalBackend
from setpoint.events import store as events
from setpoint.models import service as models
from setpoint.models.registry import aliases, commands
from setpoint.models.registry import service as registry
from setpoint.notify import service as notify
from setpoint.notify.deliver import Deliverer
from setpoint.server.mlflow.registry_hooks import EVENTS, example
from setpoint.server.mlflow.registry_webhooks import KINDS

PROMPT = {"mlflow.prompt.is_prompt": "true"}
ALL = [f"{entity}.{action}" for entity, actions in EVENTS.items() for action in actions]


@pytest.fixture
def told(backend: LocalBackend) -> LocalBackend:
    """A store with a webhook for everything."""
    cmd = notify.AddChannel(name="all", kind="mlflow", url="http://127.0.0.1:1/", events=ALL)
    backend.call(notify.add, cmd)
    return backend


def bodies(backend: LocalBackend) -> list[tuple[str, dict[str, Any]]]:
    """Return what would be sent, oldest first."""
    Deliverer(backend, KINDS).promise()
    found = backend.call(notify.log, notify.ListDeliveries()).deliveries
    said = [json.loads(each.body) for each in sorted(found, key=lambda each: each.seq)]
    return [(f"{each['entity']}.{each['action']}", each["data"]) for each in said]


def life(backend: LocalBackend, name: str, tags: dict[str, str], text: dict[str, str]) -> None:
    """Do with a model (or prompt) whatever is told of."""
    backend.call(registry.create, commands.CreateModel(model=name, tags=tags))
    cmd = commands.AddVersion(model=name, source="s3://b/m", run_id="r", tags=text)
    backend.call(registry.add_version, cmd)
    for number in (0, 1):
        tag = commands.SetTags(model=name, number=number, tags={"k": "v" * 1_000})
        backend.call(registry.tag, tag)
        gone = commands.SetTags(model=name, number=number, untag=["k"])
        backend.call(registry.tag, gone)
    move = models.SetAlias(model=name, alias="champion", number=1, reason="")
    backend.call(models.alias, move)
    backend.call(aliases.unalias, commands.DropAlias(model=name, alias="champion"))


def test_what_happens_to_a_model_is_told(told: LocalBackend) -> None:
    life(told, "guest", {"team": "risk"}, {"n": "1"})
    one = {"name": "guest", "version": "1"}
    assert bodies(told) == [
        (
            "registered_model.created",
            {"name": "guest", "tags": {"team": "risk"}, "description": None},
        ),
        (
            "model_version.created",
            {
                **one,
                "tags": {"n": "1"},
                "description": None,
                "source": "s3://b/m",
                "run_id": "r",
            },
        ),
        # Long values are cut in the record; what is still there is told whole, what is not isn't.
        ("model_version_tag.set", {**one, "key": "k", "value": "v" * 200 + "…"}),
        ("model_version_tag.deleted", {**one, "key": "k"}),
        ("model_version_alias.created", {**one, "alias": "champion"}),
        ("model_version_alias.deleted", {"name": "guest", "alias": "champion"}),
    ]


def test_what_happens_to_a_prompt_is_told_apart(told: LocalBackend) -> None:
    text = {**PROMPT, "mlflow.prompt.text": "Hello {{who}}", "a": "b"}
    life(told, "hello", {**PROMPT, "team": "risk"}, text)
    found = bodies(told)
    assert [name for name, _ in found] == [
        "prompt.created",
        "prompt_version.created",
        "prompt_tag.set",
        "prompt_tag.deleted",
        "prompt_version_tag.set",
        "prompt_version_tag.deleted",
        "prompt_alias.created",
        "prompt_alias.deleted",
    ]
    assert found[0][1] == {"name": "hello", "tags": {"team": "risk"}, "description": None}
    assert found[1][1]["template"] == "Hello {{who}}"
    assert found[1][1]["tags"] == {"a": "b"}


def test_a_tag_that_is_still_there_is_told_whole(told: LocalBackend) -> None:
    told.call(registry.create, commands.CreateModel(model="guest"))
    told.call(registry.add_version, commands.AddVersion(model="guest", source="s"))
    tag = commands.SetTags(model="guest", number=1, tags={"k": "v" * 1_000})
    told.call(registry.tag, tag)
    assert bodies(told)[-1][1]["value"] == "v" * 1_000


def test_what_is_gone_before_it_is_told_holds_up_nothing(told: LocalBackend) -> None:
    life(told, "guest", {}, {})
    told.call(registry.rename, commands.RenameModel(model="guest", new="friend"))
    told.call(registry.create, commands.CreateModel(model="other"))
    assert [data["name"] for _, data in bodies(told)] == ["other"]
    with told.reading() as conn:
        assert not events.waiting(conn)


@pytest.mark.parametrize("name", ALL)
def test_there_is_an_example_of_each(name: str) -> None:
    assert example(name)["name"].startswith("example_")
