"""Artifacts on S3, beside boto3 on the same server: small objects, and one of 500 MB.

Both run as processes of their own, in turn, each with one thread that asks; what the server
takes is in both. Ours hashes what it stores and verifies what it reads.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.compat.environments import build, python_of
from tests.s3_server import S3Server, s3_server

NAME = "artifacts"
_ROUNDS = 3  #: of small objects, in turn; the best counts

_COMMON = """
import json, os, sys, time

def measured(act):
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu

def memory(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

given = json.loads(sys.argv[1])
some = [os.urandom(10_000) for _ in range(200)]
"""

_OURS = (
    _COMMON
    + """
from pathlib import Path
from setpoint.artifacts.s3 import S3Store
from setpoint.config import Aws

store = S3Store(given["url"], Aws(**given["aws"]), Path(given["folder"]))
store.put(b"connected")
if given["large"]:
    before = memory("VmRSS")
    def up():
        with open(given["large"], "rb") as file, store.incoming() as incoming:
            while piece := file.read(1 << 20):
                incoming.write(piece)
            given["address"] = incoming.commit()[0]
    def down():
        for piece in store.chunks(given["address"]):
            pass
    found = {"up": measured(up), "down": measured(down), "memory": memory("VmHWM") - before}
else:
    addresses = []
    found = {
        "put": measured(lambda: addresses.extend(map(store.put, some))),
        "get": measured(lambda: list(map(store.get, addresses))),
    }
print(json.dumps(found))
"""
)

_BOTO = (
    _COMMON
    + """
import boto3
from botocore.config import Config

aws, bucket = given["aws"], given["url"][5:].partition("/")[0]
client = boto3.client(
    "s3",
    endpoint_url=aws["endpoint"],
    region_name=aws["region"],
    aws_access_key_id=aws["access_key_id"],
    aws_secret_access_key=aws["secret_access_key"],
    config=Config(s3={"addressing_style": "path"}),
)
client.put_object(Bucket=bucket, Key="connected", Body=b"connected")
if given["large"]:
    before = memory("VmRSS")
    up = measured(lambda: client.upload_file(given["large"], bucket, "large"))
    down = measured(lambda: client.download_file(bucket, "large", given["large"] + ".back"))
    found = {"up": up, "down": down, "memory": memory("VmHWM") - before}
else:
    def put():
        for number, one in enumerate(some):
            client.put_object(Bucket=bucket, Key=f"peer/{number}", Body=one)
    def get():
        for number in range(len(some)):
            client.get_object(Bucket=bucket, Key=f"peer/{number}")["Body"].read()
    found = {"put": measured(put), "get": measured(get)}
print(json.dumps({"version": boto3.__version__, **found}))
"""
)


def run() -> list[dict[str, Any]]:
    """Measure both on one server."""
    build("boto3", ("boto3>=1.44",))
    with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as server:
        given = _given(server, folder)
        turns = [(_run(_OURS, given), _run(_BOTO, given)) for _ in range(_ROUNDS)]
        large = Path(folder) / "large"
        with large.open("wb") as file:
            for _ in range(500):
                file.write(bytes(1 << 20))
        given["large"] = str(large)
        whole = _run(_OURS, given), _run(_BOTO, given)
    rows = []
    for name in ("put", "get"):
        for which, what in ((0, "time"), (1, "CPU of the client")):
            ours, peer = (min(turn[side][name][which] for turn in turns) for side in (0, 1))
            rows.append(_row(f"S3: {name} of 10 kB, {what}", ours * 5, peer * 5, "ms"))
    rows += [
        _row(f"S3: 500 MB {name}", whole[0][name][0], whole[1][name][0], "s")
        for name in ("up", "down")
    ]
    rows.append(
        _row("S3: growth of memory with 500 MB", whole[0]["memory"], whole[1]["memory"], "MB")
    )
    return [{**row, "peer_version": f"boto3 {whole[1]['version']}"} for row in rows]


def _given(server: S3Server, folder: str) -> dict[str, Any]:
    return {
        "url": f"{server.make()}/ours",
        "aws": server.aws.given(),
        "folder": folder,
        "large": "",
    }


def _run(script: str, given: dict[str, Any]) -> dict[str, Any]:
    python = sys.executable if script is _OURS else str(python_of("boto3"))
    command = [python, "-c", script, json.dumps(given)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _row(work: str, ours: float, peer: float, unit: str) -> dict[str, Any]:
    return {"work": work, "ours": ours, "peer": peer, "ratio": peer / ours, "unit": unit}
