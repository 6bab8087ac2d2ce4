"""``python -m setpoint.server --home DIR --port N``: pages and API alone."""

import argparse
import sys

import uvicorn

from setpoint.artifacts.home import service as artifacts
from setpoint.config import settings
from setpoint.core.lifetime import end_with_parent
from setpoint.db.local import open_local
from setpoint.errors import SetpointError
from setpoint.server import listening
from setpoint.server.app import create_app


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m setpoint.server")
    parser.add_argument("--home", help="the store's folder")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when it does")
    options = parser.parse_args()
    if options.with_parent:
        end_with_parent(options.with_parent)
    try:
        where = settings(options.home)
        backend = open_local(where)
        artifacts.require(backend)
        app = create_app(backend)
    except SetpointError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    uvicorn.Server(listening.config(app, port=options.port)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
