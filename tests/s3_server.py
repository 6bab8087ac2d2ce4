"""A real S3 server from a wheel: SeaweedFS, on ports of its own."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import obstore
from obstore.store import S3Store as Bucket

from setpoint.config import Aws

_WEED = Path(sys.executable).with_name("weed")
_PORTS = ("master", "volume", "filer", "s3")
_names = count()


class S3Server:
    """Who asks with `aws` may do everything in buckets, and not make one."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.aws = Aws(endpoint=endpoint, access_key_id="setpoint", secret_access_key="open sesame")  # noqa: S106
        self._admin = Aws(endpoint=endpoint, access_key_id="admin", secret_access_key="its own")  # noqa: S106

    def identities(self) -> str:
        """Return who there is, in the server's words."""
        can = ["Read", "Write", "List", "Tagging"]
        return json.dumps(
            {
                "identities": [
                    {
                        "name": aws.access_key_id,
                        "credentials": [
                            {"accessKey": aws.access_key_id, "secretKey": aws.secret_access_key}
                        ],
                        "actions": actions,
                    }
                    for aws, actions in ((self.aws, can), (self._admin, ["Admin", *can]))
                ]
            }
        )

    def make(self, name: str | None = None) -> str:
        """Make a bucket; return its URL."""
        name = name or f"bucket-{next(_names)}"
        url = obstore.sign(self.bucket(name, self._admin), "PUT", "", timedelta(minutes=1))
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10):  # noqa: S310
            return f"s3://{name}"

    def bucket(self, name: str, aws: Aws | None = None) -> Bucket:
        """Return a bucket to look into, past the store under test."""
        given = (aws or self.aws).given()
        return Bucket(name, config=given, client_options={"allow_http": True})  # type: ignore[arg-type]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Run a server that keeps everything in `folder`, until the block ends."""
    with ExitStack() as taken:
        listeners = [taken.enter_context(_listener()) for _ in range(2 * len(_PORTS))]
        ports = iter([listener.getsockname()[1] for listener in listeners])
    command = [str(_WEED), f"-logdir={folder}", "server", f"-dir={folder}"]
    command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", "-master.telemetry=false"]
    command += ["-volume.max=0", "-master.volumeSizeLimitMB=64"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 'who.json'}"]
    port = 0
    for part in _PORTS:
        port = next(ports)
        command += [f"-{part}.port={port}", f"-{part}.port.grpc={next(ports)}"]
    server = S3Server(f"http://127.0.0.1:{port}")
    (folder / "who.json").write_text(server.identities())
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    try:
        _await(server, process, folder)
        yield server
    finally:
        process.kill()  # asked to end it takes 25 seconds, and nobody needs its files
        process.wait()


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def _await(server: S3Server, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            server.make("ready")
            obstore.put(server.bucket("ready"), "it", b"is")  # its volumes are there
        except (urllib.error.URLError, ConnectionError, obstore.exceptions.BaseError):
            time.sleep(0.05)
        else:
            return
        said = (folder / "output").read_text()[-2000:]
        assert process.poll() is None, said
        assert time.monotonic() < end, said
