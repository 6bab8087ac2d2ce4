"""A project small enough to train in a blink: two numbers say how likely a third is one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from setpoint.artifacts.store import open_store
from setpoint.config import Settings
from setpoint.control import applying, store
from setpoint.control.entities import Job
from setpoint.control.project import Project, load
from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import from_document
from setpoint.core.clock import to_micros
from setpoint.db.local import LocalBackend
from setpoint.models import service as models
from setpoint.models.entities import Check, Gate, Input, ModelVersion, Signature
from setpoint.profiles.reference import Reference, build_reference
from setpoint.serve.entities import LabelRecord, PredictionRecord, ShadowRecord

MODEL = "m"

DOCUMENT: dict[str, Any] = {
    "model": MODEL,
    "data": {
        "source": {"rows": "work:rows"},
        "label": {"column": "y"},
        "entity": "id",
        "contract": "rows.odcs.yaml",
    },
    "train": {"code": "work:train", "split": {"by": "random", "test": "30%"}, "seed": 1},
    "objective": {"metric": "roc_auc", "at_least": 0.6, "better_than": "nothing"},
    "release": {
        "shadow": {"for": "20 requests"},
        "canary": {"steps": ["50%", "100%"], "loss_margin": "100%", "margin": "50%"},
    },
    "watch": {"window": "1h"},
}

CODE = '''\
"""What the model is made of."""

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression


def rows(now):
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 600))
    y = rng.random(600) < 1 / (1 + np.exp(-2 * a + b))
    ids = [f"r{i}" for i in range(600)]
    return pl.DataFrame({"id": ids, "a": a, "b": b, "y": y.astype(float)})


def train(features, label, seed):
    return LogisticRegression(random_state=seed).fit(features.to_numpy(), label.to_numpy())


def train_on_noise(features, label, seed):
    turned = 1 - label.to_numpy()
    return LogisticRegression(random_state=seed).fit(features.to_numpy(), turned)


def train_and_fail(features, label):
    raise ZeroDivisionError("no luck today")
'''

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: rows
name: rows
version: 1.0.0
status: active
schema:
- name: rows
  logicalType: object
  properties:
  - {name: id, logicalType: string, primaryKey: true}
  - {name: a, logicalType: number, required: true}
  - {name: b, logicalType: number}
  - {name: y, logicalType: number}
"""

PASSED = Gate(checks=[Check(name="objective", passed=True)], passed=True)


def document(**changed: Any) -> dict[str, Any]:
    """Return the spec's document with keys of groups changed, e.g. ``train={"seed": 2}``."""
    found = {**DOCUMENT}
    for key, value in changed.items():
        merged = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if merged else value
    return found


def _merged(before: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group with keys changed; None takes one out."""
    return {key: value for key, value in {**before, **changed}.items() if value is not None}


def spec(**changed: Any) -> Spec:
    return from_document(document(**changed))


def project(folder: Path, *, code: str = CODE, **changed: Any) -> Project:
    """Write the project, or write it again with changes, and load it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "work.py").write_text(code)
    (folder / "rows.odcs.yaml").write_text(CONTRACT)
    (folder / "m.setpoint.yaml").write_text(yaml.safe_dump(document(**changed)))
    return load(folder)


def apply(home: LocalBackend, folder: Path, *, code: str = CODE, **changed: Any) -> Project:
    made = project(folder, code=code, **changed)
    applying.apply(home, made)
    return made


def jobs(home: LocalBackend) -> list[Job]:
    with home.engine.begin() as conn:
        return store.jobs_of(conn, MODEL)


# ---- versions and records made by hand, without training -----------------------------------


def reference(seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    scores = rng.random(400)
    return build_reference(
        {"a": rng.normal(size=400), "b": rng.normal(size=400)},
        scores=scores,
        labels=(rng.random(400) < scores).astype(float),
    )


def version(
    home: LocalBackend, *, run: str = "run_1", found: Reference | None = None
) -> ModelVersion:
    """Register a version with a profile reference, and nothing behind its artifact."""
    objects = open_store(home.settings)
    command = models.Register(
        model=MODEL,
        run_id=run,
        why="made",
        flavor="sklearn",
        artifact=objects.put(b"nothing"),
        signature=Signature(
            inputs=[Input(name="a", datatype="FP64"), Input(name="b", datatype="FP64")],
            kind="classification",
        ),
        gate=PASSED,
        reference=objects.put(found.encode()) if found else None,
        metrics={"log_loss": 0.5},
    )
    return home.call(models.register, command)


def predicted(
    ids: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    at: Any,
    version: int = 1,
    canary: bool = False,
    **more: Any,
) -> PredictionRecord:
    count = len(ids)
    values = [[float(len(name)), float(sum(map(ord, name)) % 7)] for name in ids]
    fields: dict[str, Any] = {
        "at_us": to_micros(at),
        "model": MODEL,
        "request_id": "req",
        "ids": list(ids),
        "versions": [version] * count,
        "roles": bytes([canary]) * count,
        "columns": ["a", "b"],
        "values": np.array(values).tobytes(),
        "scores": np.array(scores if scores is not None else [0.5] * count).tobytes(),
        "micros": 100,
    }
    return PredictionRecord(**(fields | more))


def shadowed(
    ids: Sequence[str], scores: Sequence[float] | None, *, at: Any, version: int = 2
) -> ShadowRecord:
    return ShadowRecord(
        at_us=to_micros(at),
        model=MODEL,
        request_id="req",
        ids=list(ids),
        versions=[version] * len(ids),
        scores=b"" if scores is None else np.array(scores, dtype=float).tobytes(),
        status=500 if scores is None else 0,
    )


def labelled(ids: Sequence[str], labels: Sequence[float], *, at: Any) -> LabelRecord:
    return LabelRecord(at_us=to_micros(at), model=MODEL, ids=list(ids), labels=list(labels))


def home_at(folder: Path) -> Settings:
    return Settings(home=folder, database_url=f"sqlite:///{folder / 'setpoint.db'}", actor="ada")
