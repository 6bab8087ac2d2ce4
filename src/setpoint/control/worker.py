"""``python -m setpoint.control.worker``: carries out one training in a process of its own."""

import argparse
import os
import sys

import msgspec

from setpoint.config import settings
from setpoint.control import store
from setpoint.control.engine import TRY_AGAIN
from setpoint.control.training import failed, train
from setpoint.core.defects import in_words
from setpoint.core.lifetime import end_with_parent
from setpoint.db.local import open_local
from setpoint.errors import Defect, Unavailable
from setpoint.pipelines.local import StepRun


def main() -> int:
    """Train as the arguments say; 0 when the training has an outcome, good or bad."""
    parser = argparse.ArgumentParser(prog="python -m setpoint.control.worker")
    parser.add_argument("--home", help="the store's folder")
    parser.add_argument("--model", required=True)
    parser.add_argument("--job", required=True, help="the training that was requested")
    parser.add_argument("--tell", type=int, help="descriptor that gets a line of JSON a step")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when PID does")
    options = parser.parse_args()
    if options.with_parent is not None:
        end_with_parent(options.with_parent)
    try:
        _train(options.home, options.model, options.job, options.tell)
    except Unavailable as error:
        sys.stderr.write(f"error: {error}\n")
        return TRY_AGAIN
    return 0


def _train(home: str | None, model: str, job_id: str, tell: int | None) -> None:
    def told(step: StepRun) -> None:
        if tell is not None:
            os.write(tell, msgspec.json.encode(step) + b"\n")

    backend = open_local(settings(home))
    with backend.engine.begin() as conn:
        job = store.open_job(conn, model)
    if job is None or job.id != job_id:
        return  # somebody finished it
    try:
        train(backend, job, told)
    except Exception as error:  # the outermost frame of a training
        said = in_words(error)
        if not isinstance(said, Defect):
            raise said from error
        failed(backend, job, said)


if __name__ == "__main__":
    sys.exit(main())
