"""Going on with a run: where its metrics' steps had come to."""

import importlib
import logging
from array import array

from setpoint.errors import NotFound, SetpointError
from setpoint.runs.entities import Run
from setpoint.sdk.batches import LogReader
from setpoint.sdk.folders import Place, RunFolder
from setpoint.sdk.recorder import Recorder

_SECONDS = 10.0  #: that the beginning of a run waits for what it left before
_log = logging.getLogger("setpoint")


def last_steps(recorder: Recorder) -> dict[str, int]:
    """Return the last step of each metric that the run has already, to count on from.

    Delivers what is left of it first. A destination that is away is told; steps then begin
    at 0 where none is given.
    """
    if recorder.meta.offline:
        return _written(RunFolder(recorder.folder))
    try:
        if recorder.flush(_SECONDS):
            with recorder.asking() as backend:
                found: Run = importlib.import_module("setpoint.sdk.destination").show(
                    backend, recorder.meta.run
                )
            return {name: latest.step for name, latest in found.latest.items()}
    except NotFound:
        return {}
    except SetpointError as error:
        _log.warning("setpoint: %s", error.message)
    _log.warning("setpoint: run %s counts its steps from 0", recorder.meta.run)
    return {}


def _written(folder: RunFolder) -> dict[str, int]:
    found: dict[str, int] = {}
    for writer in folder.writers():
        for batch in LogReader(folder.path / writer, Place()).batches():
            for series in batch.series:
                steps = array("q")
                steps.frombytes(series.steps)
                last = max(steps)
                found[series.name] = max(last, found.get(series.name, last))
    return found
