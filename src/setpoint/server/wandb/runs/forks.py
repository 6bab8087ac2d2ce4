"""Forks: a run that goes on from a step of another begins with what that one logged so far."""

from typing import Any

from setpoint.errors import NotFound
from setpoint.runs import service
from setpoint.runs.commands import Append, History, ShowRun
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.history import RUNTIME, SYSTEM
from setpoint.server.wandb.runs.store import Known
from setpoint.server.wandb.scope import Scope


def point_of(config: dict[str, Any]) -> tuple[str, int] | None:
    """Return the run and the step that a run goes on from by its config, None if from none."""
    found = config.get("_wandb", {}).get("value", {}).get("branch_point")
    return (str(found["run_id"]), int(found["step"])) if found else None


def inherit(scope: Scope, known: Known, parent: Known | None, last: int) -> None:
    """Give a new run the rows of its parent up to a step.

    Raises:
        NotFound: If the parent is not there.
    """
    if parent is None:
        raise NotFound(
            f"project {known.experiment!r} has not the run that {known.name!r} is forked from",
            hint="fork within a project, by the id of the run",
        )
    rows = store_runs.rest(scope.conn, parent.run_id, last=last)
    store_runs.put_rows(scope.conn, known.run_id, rows)
    service.append(
        scope.ctx,
        Append(
            run=known.run_id,
            series=[
                service.history(scope.ctx, History(run=parent.run_id, metric=name, last_step=last))
                for name in _names(scope, parent.run_id)
            ],
            source=f"wandb:fork:{parent.run_id}",
            position=1,
        ),
    )


def _names(scope: Scope, run_id: str) -> list[str]:
    """Return the metrics of a run's own rows: those of its machine stay with it."""
    names = service.show(scope.ctx, ShowRun(run=run_id)).metrics
    return [name for name in names if name == RUNTIME or not name.startswith(SYSTEM)]
