"""A sweep of the wandb client with runs that came to something, and artifacts of its runs."""

import base64
import hashlib
import json
from datetime import timedelta

import numpy as np
from sqlalchemy import Connection

from setpoint.artifacts.store import open_store
from setpoint.core.clock import ManualClock
from setpoint.db.local import LocalBackend
from setpoint.runs import service as runs
from setpoint.runs.entities import Link, Point, Value
from setpoint.server.wandb.artifacts import store as artifacts
from setpoint.server.wandb.runs import store as store_runs
from setpoint.server.wandb.runs.store import Content, Known
from setpoint.server.wandb.sweeps import store as sweeps

SWEEP = "sweep001"
EXPERIMENT = "churn"
CONFIG = """\
method: bayes
metric: {name: loss, goal: minimize}
parameters:
  lr: {distribution: log_uniform_values, min: 0.0001, max: 0.1}
  depth: {values: [2, 4, 8]}
  seed: {min: 0, max: 1000}
run_cap: 40
"""


def sweep(backend: LocalBackend, clock: ManualClock, count: int = 30) -> None:
    """Make a sweep whose loss depends on the rate most, on depth a little, on the seed never."""
    rng = np.random.default_rng(3)
    made = sweeps.Sweep(
        id=SWEEP,
        experiment=EXPERIMENT,
        config=CONFIG,
        state=sweeps.RUNNING,
        created_at=clock.now(),
        updated_at=clock.now(),
        display_name="rates of learning",
    )
    with backend.engine.begin() as conn:
        sweeps.add(conn, made)
        agent = sweeps.Agent(
            id="agent_1",
            sweep=SWEEP,
            host="workstation",
            state="RUNNING",
            created_at=clock.now(),
            heartbeat_at=clock.now(),
        )
        sweeps.add_agent(conn, agent)
    for i in range(count):
        clock.advance(timedelta(minutes=7))
        rate, depth = float(10 ** rng.uniform(-4, -1)), int(rng.choice([2, 4, 8]))
        loss = (np.log10(rate) + 2.5) ** 2 + 0.05 * depth + rng.normal(0, 0.05)
        _run(backend, f"swept-{i}", {"lr": rate, "depth": depth, "seed": i}, float(loss))


def _run(backend: LocalBackend, name: str, params: dict[str, Value], loss: float) -> None:
    start = runs.Start(
        id=name, name=name, experiment=EXPERIMENT, params=params, tags={"sweep": SWEEP}
    )
    backend.call(runs.start, start)
    points = [Point(name="loss", value=loss)]
    backend.call(runs.log, runs.Log(run=name, points=points))
    with backend.engine.begin() as conn:
        now = backend.clock.now()
        known = Known(
            run_id=name,
            experiment=EXPERIMENT,
            name=name,
            created_at=now,
            heartbeat_at=now,
            sweep=SWEEP,
        )
        store_runs.add(conn, known)
    backend.call(runs.finish, runs.Finish(run=name))


def artifact(backend: LocalBackend, clock: ManualClock) -> int:
    """Keep two versions of an artifact: one run made each, two used the first; return its id."""
    now = clock.now()
    with backend.engine.begin() as conn:
        kept = artifacts.add_collection(
            conn,
            experiment=EXPERIMENT,
            kind=artifacts.SEQUENCE,
            type="dataset",
            name="customers",
            description="Those of **2025**.",
            created_at=now,
            updated_at=now,
        )
    for number in range(2):
        rows = b"".join(b"%d,%d\n" % (i, i * number) for i in range(3))
        _version(backend, kept.id, {"customers.csv": b"id,spent\n" + rows, "README.md": b"# Hi\n"})
    with backend.engine.begin() as conn:
        first = artifacts.members(conn, kept.id)[-1].artifact_id
        for name in ("swept-3", "swept-4"):
            artifacts.use(conn, first, name, None, now)
        artifacts.point(conn, kept.id, ["best"], 0)
        artifacts.point(conn, kept.id, ["latest"], 1)
    used = [Link(kind="artifact", ref=f"{EXPERIMENT}/customers:v0")]
    backend.call(runs.log, runs.Log(run="swept-3", uses=used, late=True))
    return kept.id


def _version(backend: LocalBackend, collection: int, files: dict[str, bytes]) -> None:
    now = backend.clock.now()
    size = sum(len(content) for content in files.values())
    with backend.engine.begin() as conn:
        made = artifacts.add_artifact(
            conn,
            collection_id=collection,
            state=artifacts.COMMITTED,
            digest=hashlib.md5(str(files).encode(), usedforsecurity=False).hexdigest(),
            digest_algorithm="MANIFEST_MD5",
            metadata='{"rows": 3}',
            tags=["clean"],
            wanted=[],
            run_id="swept-1",
            size=size,
            files=len(files),
            created_at=now,
            updated_at=now,
        )
        contents = {
            name: {"digest": _keep(backend, conn, content), "size": len(content)}
            for name, content in files.items()
        }
        contents["raw"] = {"digest": "etag", "size": 9, "ref": "s3://bucket/raw.csv"}
        listed = json.dumps({"version": 1, "contents": contents}).encode()
        md5 = _keep(backend, conn, listed)
        artifacts.add_manifest(conn, artifact_id=made.id, type="FULL", digest="d", md5=md5)
        artifacts.join(conn, collection, made.id, now)


def _keep(backend: LocalBackend, conn: Connection, content: bytes) -> str:
    md5 = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
    address = open_store(backend.settings).put(content)
    store_runs.put_content(conn, Content(md5=md5, address=address, size=len(content)))
    return md5
