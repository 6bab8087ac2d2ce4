"""The same model, row and connections beside five more servers of models, one worker each.

Ours logs every prediction, routes and counts; the peers do not log requests. Ours is asked by V2
and, where it knows the peer's own protocol, by the very request that the peer gets. As in `serving`
the client shares the machine, so CPU time of the server is what compares. ``python -m bench
serving_peers`` starts one peer after the other, each in turn with ours; one that cannot be
installed or started here has a row that says so.
"""

import json
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from bench.load import Load, drive
from bench.peers import PEERS, Peer, v2
from bench.served import FEATURES, Bar, Store, data, in_turn, row, stored
from sklearn.linear_model import LogisticRegression

NAME = "serving_peers"
CONNECTIONS = (1, 16, 64)
SECONDS = 0.7
Asked = tuple[int, int, str, bytes]  # process, port, path, body


def run() -> list[dict[str, Any]]:
    x, y = data()
    values = np.random.default_rng(7).normal(size=FEATURES).round(6).tolist()
    rows = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        held = Store(home / "store")
        stack.callback(held.close)
        held.register("m", stored(held.objects, LogisticRegression().fit(x, y), x))
        held.deploy("m")
        pid, port = stack.enter_context(held.serving())
        ours = (pid, port, "/v2/models/m/infer", json.dumps(v2(values)).encode())
        for number, peer in enumerate(PEERS):
            there = home / str(number)
            there.mkdir()
            np.savez(there / "data.npz", x=x, y=y)
            rows += _beside(peer, ours, there, values)
    return rows


def _beside(peer: Peer, ours: Asked, folder: Path, values: list[float]) -> list[dict[str, Any]]:
    """Measure ours and a peer; one row that says why, where the peer does not run."""
    try:
        with peer.serving(folder, values) as (pid, port):
            asked = (peer.path, json.dumps(peer.ask(values)).encode())
            theirs = (pid, port, *asked)
            found = {("one row of JSON", c): _both(ours, theirs, c) for c in CONNECTIONS}
            if peer.ours_too:
                same = (*ours[:2], *asked)
                alike = {("the same request", c): _both(same, theirs, c) for c in CONNECTIONS}
                found |= alike
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        said = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1][:200]
        log = folder / "bench.log"
        if log.exists() and "bench.log" in said:
            said = "\n".join(log.read_text(errors="replace").strip().splitlines()[-3:])
        return [{"work": f"not measured: {said}", "ours": None, "unit": "", **_nothing(peer)}]
    rows = []
    for (what, c), (one, other) in found.items():
        work = f"{what}, {c} in flight"
        theirs_cpu = other.cpu_micros
        bar = None if peer.bar is None else Bar(peer.bar, "x")
        rows += [
            row(
                work,
                one.cpu_micros,
                "server CPU us/request",
                peer=theirs_cpu,
                beside=str(peer),
                bar=bar,
            ),
            row(work, one.per_second, "requests/s", peer=other.per_second, beside=str(peer)),
        ]
    return rows


def _nothing(peer: Peer) -> dict[str, Any]:
    return {"peer": None, "ratio": None, "peer_version": str(peer), "bar": None, "met": None}


def _both(ours: Asked, theirs: Asked, connections: int) -> tuple[Load, Load]:
    def ask(at: Asked) -> Load:
        return drive(*at, connections=connections, seconds=SECONDS)

    return in_turn(ask, ours, theirs)
