"""What a training function sees of its run."""

from pathlib import Path

import numpy as np
import pytest

from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.runs import service
from setpoint.runs.entities import Artifact
from setpoint.runs.handle import Handle


@pytest.fixture
def handle(backend: LocalBackend) -> Handle:
    run = backend.call(service.start, service.Start(experiment="late"))
    return Handle(backend, open_store(backend.settings), run.id)


def test_what_is_recorded_is_there_after_the_block(
    handle: Handle, backend: LocalBackend, tmp_path: Path
) -> None:
    file = tmp_path / "plot.svg"
    file.write_text("<svg/>")
    with handle:
        handle.params(leaves=31)
        handle.tags(author="ada")
        for loss in (0.9, np.float32(0.5)):
            handle.metric("loss", loss)
        handle.log({"auc": 0.7}, step=9)
        address = handle.artifact("plots/loss.svg", file)
    run = backend.call(service.show, service.ShowRun(run=handle.id))
    assert run.params == {"leaves": 31}
    assert run.metrics == {"auc": 0.7, "loss": 0.5}
    assert run.artifacts == {"plots/loss.svg": Artifact(address=address, size=6)}
    curve = backend.call(service.points, service.Curve(run=run.id, metric="loss")).points
    assert [p.step for p in curve] == [0, 1]


def test_many_points_are_written_before_the_end(handle: Handle, backend: LocalBackend) -> None:
    for i in range(1_001):
        handle.metric("loss", i)
    curve = service.Curve(run=handle.id, metric="loss")
    assert len(backend.call(service.points, curve).points) == 1_000


def test_a_metric_that_is_no_number_is_refused_by_name(handle: Handle) -> None:
    with pytest.raises(Invalid, match="metric 'loss' is 'low'"):
        handle.metric("loss", "low")  # type: ignore[arg-type]
