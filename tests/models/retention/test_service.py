"""Deleted versions give their bytes back, and only theirs."""

import os
from datetime import timedelta

import pytest
from tests.models.conftest import Adds, Trains

from setpoint.artifacts.files import FileStore
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.models import service as models
from setpoint.models import store
from setpoint.models.entities import Signature, Stored
from setpoint.models.registry import commands
from setpoint.models.registry import service as registry
from setpoint.models.registry.entities import Keep
from setpoint.models.retention import service
from setpoint.models.retention.service import Named
from setpoint.runs import service as runs
from setpoint.runs.commands import Collect, Finish, Log, OneRun, Start
from setpoint.runs.entities import Artifact


@pytest.fixture
def objects(backend: LocalBackend) -> FileStore:
    return FileStore(backend.settings.objects)


def put(objects: FileStore, data: bytes) -> str:
    """Store bytes a day ago."""
    address = objects.put(data)
    os.utime(objects.path(address), (0, objects.find([address])[address].stored_at - 86_400))
    return address


def delete(backend: LocalBackend, model: str, number: int) -> None:
    backend.call(registry.delete_version, commands.DeleteVersion(model=model, number=number))


def test_bytes_come_back_once_a_version_has_been_deleted_long_enough(
    backend: LocalBackend,
    clock: ManualClock,
    objects: FileStore,
    train: Trains,
) -> None:
    mine, shared = put(objects, b"a" * 1_000), put(objects, b"shared")
    plain = Stored(
        flavor="sklearn",
        artifact=put(objects, b"baseline"),
        signature=Signature(inputs=[]),
        background=put(objects, b"its background"),
    )
    kept = {"rows": put(objects, b"rows"), "background": put(objects, b"background")}
    train(artifact=mine, onnx=shared, baseline=plain, **kept)
    train(artifact=shared)
    delete(backend, "late", 1)
    clock.advance(timedelta(days=29))
    assert service.collect(backend).versions == []
    clock.advance(timedelta(days=1))
    rehearsed = service.collect(backend, dry=True)
    assert (rehearsed.versions, rehearsed.objects) == ([Named(model="late", number=1)], 0)
    done = service.collect(backend)
    assert (done.versions, done.objects, done.bytes) == ([Named(model="late", number=1)], 5, 1_036)
    assert done.spared == 1
    assert list(objects.addresses()) == [shared]
    with pytest.raises(Conflict, match="cannot come back"):
        backend.call(registry.restore_version, commands.OneVersion(model="late", number=1))
    with backend.reading() as conn:
        told = store.get(conn, "late", 1)
    assert (told.artifact, told.freed_at) == (mine, clock.now())
    assert service.collect(backend).objects == 0


def test_what_was_stored_again_a_moment_ago_is_spared(
    backend: LocalBackend,
    clock: ManualClock,
    objects: FileStore,
    train: Trains,
) -> None:
    mine = put(objects, b"model")
    train(artifact=mine)
    delete(backend, "late", 1)
    clock.advance(timedelta(days=30))
    assert objects.put(b"model") == mine  # by a training that has not registered it yet
    assert service.collect(backend).spared == 1
    assert objects.has(mine)
    os.utime(objects.path(mine), (0, 0))
    assert service.collect(backend).objects == 1


def test_versions_from_elsewhere_leave_no_row_and_take_their_model_along(
    backend: LocalBackend,
    clock: ManualClock,
    add: Adds,
) -> None:
    add(tags={"k": "v"})
    add("friend")
    cmd = models.SetAlias(model="guest", alias="champion", number=1, reason="")
    backend.call(models.alias, cmd)
    backend.call(registry.delete, commands.DeleteModel(model="guest"))
    clock.advance(timedelta(days=31))
    done = service.collect(backend)
    assert (done.models, done.objects) == (["guest"], 0)
    with pytest.raises(NotFound):
        backend.call(registry.restore, commands.OneModel(model="guest"))
    assert [m.model for m in backend.call(models.ls, models.ListModels()).models] == ["friend"]


def test_a_rule_of_keeping_retires_what_nobody_names(
    backend: LocalBackend,
    clock: ManualClock,
    add: Adds,
) -> None:
    for _ in range(5):
        add()
        clock.advance(timedelta(days=10))
    cmd = models.SetAlias(model="guest", alias="champion", number=1, reason="")
    backend.call(models.alias, cmd)
    rule = commands.UpdateModel(model="guest", keep=Keep(newest=2, days=15))
    backend.call(registry.update, rule)
    assert [v.number for v in service.collect(backend, dry=True).retired] == [2, 3]
    assert [v.number for v in service.collect(backend).retired] == [2, 3]
    living = backend.call(models.show, models.ShowModel(model="guest")).versions
    assert [v.number for v in living] == [5, 4, 1]
    backend.call(registry.restore_version, commands.OneVersion(model="guest", number=3))
    with pytest.raises(Invalid):
        backend.call(registry.update, commands.UpdateModel(model="guest", keep=Keep(days=0)))


def test_a_run_whose_files_a_version_needs_is_not_collected(
    backend: LocalBackend, objects: FileStore, add: Adds
) -> None:
    address = put(objects, b"model")
    backend.call(runs.start, Start(experiment="e", id="r"))
    files = {"model/m.pkl": Artifact(address=address, size=5)}
    backend.call(runs.log, Log(run="r", artifacts=files))
    backend.call(runs.finish, Finish(run="r"))
    add(source="mlflow-artifacts:/0/r/artifacts/model", run_id="r")
    backend.call(runs.delete, OneRun(run="r"))
    assert backend.call(runs.collect, Collect(older_than=0)).runs == 0
    assert objects.has(address)
    delete(backend, "guest", 1)
    assert backend.call(runs.collect, Collect(older_than=0)).runs == 1
    assert not objects.has(address)
