"""Pages bear models that were not trained here."""

import pytest
from tests.server.web import ask

from setpoint.db.local import LocalBackend
from setpoint.models import service as models
from setpoint.models.entities import PROMPT
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry


@pytest.fixture
def guests(backend: LocalBackend) -> LocalBackend:
    """A store with a model from elsewhere, one without versions, and a prompt."""
    for name, tags in (("guest", {}), ("bare", {}), ("hello", {PROMPT: "true"})):
        backend.call(registry.create, commands.CreateModel(model=name, tags=tags))
    for model in ("guest", "hello"):
        backend.call(registry.add_version, commands.AddVersion(model=model, source="s3://b/m"))
    alias = models.SetAlias(model="guest", alias="champion", number=1, reason="")
    backend.call(models.alias, alias)
    return backend


@pytest.mark.parametrize(
    "path", ["/", "/models/guest", "/models/guest/1", "/models/bare", "/events"]
)
def test_every_page_of_them_is_there(guests: LocalBackend, empty: str, path: str) -> None:
    assert ask(empty, path).status == 200


def test_prompts_are_not_listed_as_models(guests: LocalBackend) -> None:
    found = guests.call(models.ls, models.ListModels()).models
    assert [(each.model, each.trained_here) for each in found] == [
        ("bare", False),
        ("guest", False),
    ]
