"""``python -m setpoint.serve``: what `setpoint up` starts for a store, and an image for a package.

``--home DIR --port N`` serves what a store deploys, ``--package DIR`` what is in a folder.
"""

import argparse
import sys
from pathlib import Path

from setpoint.config import serving, settings
from setpoint.core.lifetime import end_with_parent
from setpoint.errors import Invalid, SetpointError
from setpoint.serve.main import PORT, run, run_package

_PATIENCE_SECONDS = 5.0  #: what a server whose parent was killed needs to end, amply


def main() -> int:
    options = _parser().parse_args()
    if options.with_parent:
        end_with_parent(options.with_parent)
    try:
        _run(options)
    except SetpointError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    if options.package is not None:
        where = serving(host=options.host, port=options.port, log=options.log, jobs=options.jobs)
        run_package(
            options.package,
            where,
            options.log_level,
            any_host=options.allow_any_host,
            grpc_port=options.grpc_port,
        )
        return
    if options.allow_any_host or options.log is not None or options.jobs is not None:
        raise Invalid(
            "--allow-any-host, --log and --jobs are for packages",
            hint="name one with --package DIR; a store is served on this machine only",
        )
    run(
        settings(options.home),
        options.host or "127.0.0.1",
        PORT if options.port is None else options.port,
        options.log_level,
        patience=_PATIENCE_SECONDS if options.with_parent else 0.0,
        grpc_port=options.grpc_port,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m setpoint.serve")
    # SageMaker starts every image with this word.
    parser.add_argument("serve", nargs="?", choices=["serve"], help=argparse.SUPPRESS)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--home", help="the store's folder")
    what.add_argument("--package", type=Path, metavar="DIR", help="serve a package, no store")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int, help="0 takes a free one")
    parser.add_argument("--grpc-port", type=int, metavar="N", help="for clients of gRPC, too")
    parser.add_argument("--log", type=Path, metavar="DIR", help="a package's prediction log")
    parser.add_argument("--jobs", type=Path, metavar="DIR", help="where a package keeps jobs")
    parser.add_argument(
        "--allow-any-host",
        action="store_true",
        help="let a package be served to other machines, without authentication",
    )
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when it does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
