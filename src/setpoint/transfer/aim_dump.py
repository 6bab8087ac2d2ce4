"""Writes an Aim repository as JSON and files. Runs in the interpreter that has Aim's package.

Only its own package reads its RocksDB, and only a repository opened for writing shows every
run: so it is given a copy. Standard library and `aim` only; the reader is `aim.py`.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(repository: str, out: str) -> None:
    from aim import Repo, Run  # noqa: PLC0415 - told apart from bad arguments

    repo = Repo(repository)
    for number, name in enumerate(sorted(repo.list_all_runs())):
        options = {"log_system_params": False, "capture_terminal_logs": False}
        run = Run(name, repo=repo, system_tracking_interval=None, **options)
        folder = Path(out) / str(number)
        (folder / "files").mkdir(parents=True)
        with (folder / "series.jsonl").open("w") as file:
            for metric in run.metrics():
                file.write(json.dumps(_metric(metric)) + "\n")
        left = _others(run, folder / "files")
        (folder / "run.json").write_text(json.dumps(_about(run, left), default=str))


def _about(run: Any, left: list[str]) -> dict[str, Any]:
    return {
        "id": run.hash,
        "name": run.name,
        "experiment": run.experiment,
        "description": run.description,
        "tags": list(run.tags),
        "archived": bool(run.archived),
        "created": run.creation_time,
        "ended": run.end_time,
        "params": {name: run[name] for name in run.meta_run_attrs_tree.collect(strict=False)},
        "left": left,
    }


def _metric(metric: Any) -> dict[str, Any]:
    steps, (values, _, times) = metric.data.numpy()
    return {
        "name": _named(metric),
        "steps": steps.tolist(),
        "values": [repr(value) for value in values.tolist()],
        "times": times.tolist(),
    }


def _others(run: Any, files: Path) -> list[str]:
    left = []
    kinds = ("texts", "images", "distributions", "audios", "figures")
    infos = run.collect_sequence_info(kinds)
    for kind in kinds:
        for info in infos.get(kind, ()):
            sequence = _sequence(run, kind, info)
            for step, value in sequence.data.items():
                each = value[0] if isinstance(value, tuple) else value
                for index, one in enumerate(each if isinstance(each, list) else [each]):
                    path = files / kind / _named(sequence) / f"{step}-{index}"
                    if not _write(kind, one, path):
                        left.append(f"{kind}/{info['name']}")
    return sorted(set(left))


def _sequence(run: Any, kind: str, info: dict[str, Any]) -> Any:
    from aim.storage.context import Context  # noqa: PLC0415

    return getattr(run, f"get_{kind.removesuffix('s')}_sequence")(
        info["name"], Context(info["context"])
    )


def _write(kind: str, value: Any, path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "texts":
        path.with_suffix(".txt").write_text(value.data)
    elif kind == "images":
        value.to_pil_image().save(path.with_suffix(".png"))
    elif kind == "distributions":
        counts, edges = value.to_np_histogram()
        content = {"counts": counts.tolist(), "limits": edges.tolist()}
        path.with_suffix(".json").write_text(json.dumps(content))
    else:
        return False
    return True


def _named(sequence: Any) -> str:
    """Return a sequence's name with its context: ``loss/subset=train``."""
    context = sequence.context.to_dict()
    parts = [f"{key}={context[key]}" for key in sorted(context)]
    return "/".join([sequence.name, *parts])


if __name__ == "__main__":
    main(*sys.argv[1:])
