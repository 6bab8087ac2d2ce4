"""V2's binary tensors beside V2's JSON: 32 rows of 30 features, logistic regression, one worker.

The same server and the same rows, asked in turn; what differs is how they are written: in JSON as
a client writes an array (all 17 digits, as tritonclient does), and of numbers with six decimals.
Then by Triton's own client, which has to write and to read them, too: what its user gets.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bench.load import Load, drive
from bench.served import FEATURES, Bar, Store, data, in_turn, row, stored
from sklearn.linear_model import LogisticRegression
from tests.compat.environments import build, python_of

NAME = "serving_binary"
ROWS = 32
CONNECTIONS = (1, 16)
SECONDS = 2.0
TIMES = 3
Asked = tuple[bytes, Mapping[str, str]]  # body, headers

# Runs in the client's environment, and prints its version and requests a second, binary and JSON.
_CLIENT = """
import json, sys, time
from importlib.metadata import version
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

port, seconds, rounds = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
rows = np.load("rows.npy")
client = InferenceServerClient(f"127.0.0.1:{port}")


def ask(binary):
    tensor = InferInput("x", list(rows.shape), "FP64")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    wanted = InferRequestedOutput("score", binary_data=binary)
    return client.infer("m", [tensor], outputs=[wanted]).as_numpy("score")


def rate(binary):
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        ask(binary)
        count += 1
    return count / (time.perf_counter() - began)


np.testing.assert_array_equal(ask(True), ask(False))
rates = [(rate(True), rate(False)) for _ in range(rounds)]
print(json.dumps([version("tritonclient"), *(sorted(one)[rounds // 2] for one in zip(*rates))]))
"""


def run() -> list[dict[str, Any]]:
    x, y = data()
    values = x[:ROWS]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        held = Store(Path(folder))
        held.register("m", stored(held.objects, LogisticRegression().fit(x, y), x))
        held.deploy("m")
        with held.serving() as server:
            for datatype in ("FP32", "FP64"):
                for c in CONNECTIONS:
                    rows += _compared(server, values, datatype, c)
            most = CONNECTIONS[-1]
            rows += _compared(server, values.round(6), "FP64", most, "V2 in JSON of 6 decimals")
            rows.append(_by_client(server[1], values, Path(folder)))
        held.close()
    return rows


def _compared(
    server: tuple[int, int], values: Any, datatype: str, c: int, beside: str = "V2 in JSON"
) -> list[dict[str, Any]]:
    raw, text = binary(values, datatype), _json(values, datatype)
    one, two = in_turn(lambda asked: _ask(server, asked, c), raw, text)
    return _rows(f"{ROWS} rows of {datatype} in binary, {c} in flight", one, two, beside)


def binary(values: Any, datatype: str) -> Asked:
    """Return a request whose one tensor stands in raw bytes behind the JSON."""
    raw = values.astype("<f4" if datatype == "FP32" else "<f8").tobytes()
    shape, size = list(values.shape), {"binary_data_size": len(raw)}
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": size}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(head)),
    }
    return head + raw, headers


def _json(values: Any, datatype: str) -> Asked:
    kind = "f4" if datatype == "FP32" else "f8"
    flat = values.astype(kind).reshape(-1).tolist()
    tensor = {"name": "x", "shape": [ROWS, FEATURES], "datatype": datatype, "data": flat}
    return json.dumps({"inputs": [tensor]}).encode(), {"Content-Type": "application/json"}


def _ask(server: tuple[int, int], asked: Asked, connections: int) -> Load:
    body, headers = asked
    path = "/v2/models/m/infer"
    return drive(*server, path, body, connections=connections, seconds=SECONDS, headers=headers)


def _by_client(port: int, values: Any, folder: Path) -> dict[str, Any]:
    build("inference")
    np.save(folder / "rows.npy", values)
    words = [str(python_of("inference")), "-c", _CLIENT, str(port), str(SECONDS), "3"]
    done = subprocess.run(words, cwd=folder, capture_output=True, check=True, text=True)
    version, binary, text = json.loads(done.stdout)
    work = f"{ROWS} rows of FP64 by Triton's client, in binary"
    beside = f"the same in JSON, tritonclient {version}"
    return row(work, binary, "requests/s", peer=text, beside=beside, bar=Bar(TIMES, "x"))


def _rows(work: str, binary: Load, text: Load, beside: str) -> list[dict[str, Any]]:
    bar = Bar(TIMES, "x") if beside == "V2 in JSON" else None
    cpu, rate = text.cpu_micros, text.per_second
    return [
        row(work, binary.cpu_micros, "server CPU us/request", peer=cpu, beside=beside, bar=bar),
        row(work, binary.per_second, "requests/s", peer=rate, beside=beside, bar=bar),
    ]
