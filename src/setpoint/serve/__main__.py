"""``python -m setpoint.serve``: what `setpoint up` starts for a store, and an image for a package.

``--home DIR --port N`` serves what a store deploys, ``--package DIR`` what is in a folder.
"""

import argparse
import sys
from pathlib import Path

from msgspec.structs import replace

from setpoint.config import Serving, serving, settings
from setpoint.core.lifetime import end_with_parent
from setpoint.errors import Invalid, SetpointError
from setpoint.serve.grpc import require_grpc
from setpoint.serve.listening import PORT, How, Worker
from setpoint.serve.workers import words_of_this_python

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
    where = serving(
        host=options.host,
        port=options.port,
        log=options.log,
        jobs=options.jobs,
        drain=options.drain,
        workers=options.workers,
        model_memory=options.model_memory,
    )
    if options.grpc_port is not None:
        where = replace(where, grpc_port=options.grpc_port)
    of_package = options.allow_any_host or options.log is not None or options.jobs is not None
    if options.package is None and of_package:
        raise Invalid(
            "--allow-any-host, --log and --jobs are for packages",
            hint="name one with --package DIR; a store is served on this machine only",
        )
    if where.workers > 1 and options.worker is None:
        _run_several(options, where)
    else:
        _run_one(options, where)


def _run_one(options: argparse.Namespace, where: Serving) -> None:
    from setpoint.serve.main import run, run_package  # noqa: PLC0415 - who starts workers is light

    worker = None
    if options.worker is not None:
        worker = Worker(name=options.worker, file=options.fd, folder=options.siblings)
    patience = _PATIENCE_SECONDS if options.with_parent and worker is None else 0.0
    how = How(
        patience=patience,
        grpc_port=where.grpc_port,
        drain=where.drain,
        client_seconds=where.client_seconds,
        worker=worker,
        model_memory=where.model_memory,
        async_output=where.async_output,
    )
    level = options.log_level
    if options.package is not None:
        run_package(options.package, where, level, any_host=options.allow_any_host, how=how)
        return
    port = PORT if options.port is None else options.port
    run(settings(options.home), options.host or "127.0.0.1", port, level, how=how)


def _run_several(options: argparse.Namespace, where: Serving) -> None:
    from setpoint.serve import several  # noqa: PLC0415 - for several only

    words = [*words_of_this_python(), "--drain", str(where.drain), "--log-level", options.log_level]
    if where.grpc_port is not None:
        require_grpc()
        words += ["--grpc-port", str(where.grpc_port)]
    if options.package is not None:
        words += ["--package", str(options.package), "--host", where.host]
        words += ["--allow-any-host"] if options.allow_any_host else []
        words += [] if where.log is None else ["--log", str(where.log)]
        words += [] if where.jobs is None else ["--jobs", str(where.jobs)]
        several.run_package(words, where, options.log_level, any_host=options.allow_any_host)
        return
    home = settings(options.home)
    port = PORT if options.port is None else options.port
    words += ["--home", str(home.home)]
    if where.model_memory is not None:  # each has its share
        words += ["--model-memory", str(max(where.model_memory // where.workers, 1))]
    where = replace(where, host=options.host or "127.0.0.1", port=port)
    several.run(words, home, where, options.log_level, _PATIENCE_SECONDS)


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
    parser.add_argument(
        "--drain", type=float, metavar="SECONDS", help="to answer what was accepted, at the end"
    )
    parser.add_argument("--log", type=Path, metavar="DIR", help="a package's prediction log")
    parser.add_argument("--jobs", type=Path, metavar="DIR", help="where a package keeps jobs")
    parser.add_argument(
        "--allow-any-host",
        action="store_true",
        help="let a package be served to other machines, without authentication",
    )
    parser.add_argument(
        "--model-memory",
        metavar="SIZE",
        help="of a store: load models when they are asked, and hold those asked last within this",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes that answer")
    for of_worker, kind in (("--worker", str), ("--fd", int), ("--siblings", Path)):
        parser.add_argument(of_worker, type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--log-level", default="warning")
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when it does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
