"""Starts what the replay needs, runs it, and shows what it came to."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import click
import msgspec
from msgspec import Struct
from rich.console import Console

from setpoint.config import Settings, environment, settings
from setpoint.core.clock import FileClock
from setpoint.core.lifetime import await_predecessor, sole_owner
from setpoint.db.local import open_local
from setpoint.demo.display import Display, summary
from setpoint.demo.report import Report, peak_megabytes, report
from setpoint.demo.story import MODEL, START, UNTIL, Story
from setpoint.errors import Invalid, Unavailable
from setpoint.serve.client import Inference

_READY_SECONDS = 30.0


class Options(Struct, frozen=True, kw_only=True):
    """What `setpoint demo` was asked for."""

    home: str
    until: datetime | None
    seed: int
    ui: bool
    port: int
    inference_port: int
    as_json: bool


def run(options: Options) -> None:
    """Replay, show the outcome, and keep the pages up until Ctrl-C if asked to."""
    until = min(options.until or UNTIL, UNTIL)
    if until <= START + timedelta(days=1):
        raise Invalid("the replay begins on 2013-03-01", hint="choose a later --until")
    began = time.monotonic()
    store = settings(options.home, database_url=_database(options.home), actor="demo")
    console = Console(stderr=options.as_json)
    with _simulated(store), _processes(store, options) as pids:
        found = _replay(store, options, until, console, pids, began)
        console.print(summary(found))
        if options.ui:
            address = f"http://127.0.0.1:{options.port}"
            console.print(f"\npages      {address}\nstop with Ctrl-C")
        else:
            console.print(f"\nlook at it: setpoint up --home {store.home}")
        if options.as_json:
            click.echo(msgspec.json.encode(found).decode())
        if options.ui:
            _wait()


def _replay(
    store: Settings,
    options: Options,
    until: datetime,
    console: Console,
    pids: list[int],
    began: float,
) -> Report:
    with Display(console, start=START, until=until) as display:
        story = Story(store, seed=options.seed, until=until, told=display.step)
        try:
            display.say("flights and weather of 2013: ingest, check, train on January and February")
            story.begin(f"http://127.0.0.1:{options.inference_port}")
            for line in story.opening():
                display.say(line)
            stream = story.load()
            display.say(f"{len(stream):,} flights to come, {stream.labelled:,} will get a label")
            sabotage = START + sabotage_after(until - START)
            story.play(display.progress, sabotage)
            return report(
                story.home,
                MODEL,
                stream,
                seconds=time.monotonic() - began,
                peak_memory_mb=peak_megabytes([os.getpid(), *pids]),
            )
        finally:
            story.close()


def sabotage_after(whole: timedelta) -> timedelta:
    """Return when the bad version comes: after two weeks, sooner where its end would not show.

    A release lasts a week at most, and it begins when all is quiet.
    """
    return max(timedelta(days=1), min(timedelta(days=14), whole - timedelta(days=8)))


@contextmanager
def _simulated(store: Settings) -> Iterator[None]:
    """Hold the folder, with the year's clock and a store in it before any process asks for them."""
    with sole_owner(store.home):
        await_predecessor(store.home)
        clock = FileClock(store.home / "clock", start=START)
        open_local(store, clock).engine.dispose()
        yield


@contextmanager
def _processes(store: Settings, options: Options) -> Iterator[list[int]]:
    """Run the inference server and, if asked for, the pages; they end with this process."""
    port = str(options.inference_port)
    children = [_start("setpoint.serve", store, "--port", port)]
    if options.ui:
        children.append(_start("setpoint.server", store, "--port", str(options.port)))
    try:
        _ready(children[0], f"http://127.0.0.1:{port}")
        yield [child.pid for child in children]
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(15)


def _start(module: str, store: Settings, *more: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        module,
        "--home",
        str(store.home),
        "--with-parent",
        str(os.getpid()),
        *more,
    ]
    return subprocess.Popen(command, env=environment(store))  # noqa: S603


def _ready(child: subprocess.Popen[bytes], url: str) -> None:
    client = Inference(url)
    end = time.monotonic() + _READY_SECONDS
    while True:
        if child.poll() is not None:
            raise Unavailable("the inference server did not start", hint="its error is above")
        try:
            client.wait_until_live(0.1)
        except Unavailable:
            if time.monotonic() > end:
                raise
        else:
            return


def _database(home: str) -> str:
    """A replay keeps to its own folder, whatever database the environment names."""
    return f"sqlite:///{Path(home).absolute() / 'setpoint.db'}"


def _wait() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo("stopped", err=True)
