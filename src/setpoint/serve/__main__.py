"""``python -m setpoint.serve --home DIR --port N``: what `setpoint up` starts."""

import argparse
import sys

from setpoint.config import settings
from setpoint.core.lifetime import end_with_parent
from setpoint.errors import SetpointError
from setpoint.serve.main import PORT, run

_PATIENCE_SECONDS = 5.0  #: what a server whose parent was killed needs to end, amply


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m setpoint.serve")
    parser.add_argument("--home", help="the store's folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=PORT, help="0 takes a free one")
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when it does")
    options = parser.parse_args()
    if options.with_parent:
        end_with_parent(options.with_parent)
    try:
        run(
            settings(options.home),
            options.host,
            options.port,
            options.log_level,
            patience=_PATIENCE_SECONDS if options.with_parent else 0.0,
        )
    except SetpointError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
