"""``python -m setpoint.cli.batch_worker``: scores some chunks of a batch for its parent."""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from setpoint.config import settings
from setpoint.control.featuring import features_of
from setpoint.core.defects import in_words
from setpoint.core.lifetime import end_with_parent
from setpoint.core.problems import to_problem
from setpoint.errors import NotFound
from setpoint.serve.batch.run import Said, score
from setpoint.serve.batch.scoring import loaded
from setpoint.serve.batch.work import Work


def main() -> int:
    """Score what the arguments say; tell of every chunk in a line on stdout."""
    parser = argparse.ArgumentParser(prog="python -m setpoint.cli.batch_worker")
    parser.add_argument("--home", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--chunks", required=True, help="such as 0-4,7-9, without the last each")
    parser.add_argument("--with-parent", type=int, required=True, metavar="PID")
    options = parser.parse_args()
    end_with_parent(options.with_parent)
    tell = os.dup(1)
    os.dup2(2, 1)  # what a model prints must not mix with what we tell
    try:
        _score(options.home, Work(options.output), options.chunks, tell)
    except Exception as error:  # noqa: BLE001 - the outermost frame
        _tell(tell, Said(problem=to_problem(in_words(error), 0)))
        return 1
    return 0


def _score(home: str, work: Work, chunks: str, tell: int) -> None:
    found, plan = settings(home), work.plan()
    if plan is None:
        raise NotFound(f"there is no batch in {work.folder}")
    runs = [run.partition("-") for run in chunks.split(",")]
    numbers = [n for begin, _, end in runs for n in range(int(begin), int(end))]
    endpoint = loaded(found, plan.model, plan.version)
    features = None
    if plan.asked.features:
        features = features_of(plan.asked.features, plan.model, plan.begun_at)

    def told(rows: int) -> None:
        _tell(tell, Said(rows))

    score(found, work, plan, endpoint, numbers, told, features=features)


def _tell(to: int, said: Said) -> None:
    os.write(to, msgspec.json.encode(said) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
