"""Replays the small project in a process of its own that may be told to die at a point.

``python child.py HOME [--points FILE] [--die "MICROS|NAME|N" --how self|server|soon|both]``

Production code has no hooks for this: what it writes is seen from outside, by Python's audit
events and SQLAlchemy's.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from tests.crash.small import SABOTAGE, START, UNTIL, Small

from setpoint.config import Settings, environment
from setpoint.core.clock import FileClock, to_micros
from setpoint.core.lifetime import sole_owner
from setpoint.errors import SetpointError, Unavailable

LOST = 75  #: exit status: the inference server went away
_READY_SECONDS = 30.0
_WRITES = os.O_WRONLY | os.O_RDWR


class Points:
    """Counts what this process writes, and dies (or has the server die) at one of them."""

    def __init__(self, home: Path, into: Path | None, die: str | None, how: str) -> None:
        self._home = str(home)
        self._file = into.open("a", encoding="utf-8") if into else None
        moment, self._name, count = die.rsplit("|", 2) if die else ("", "", "0")
        self._moment = int(moment) if moment else None
        self._count = int(count)
        self._how = how
        self._seen: Counter[tuple[int, str]] = Counter()
        self.clock: FileClock | None = None
        self.server: int | None = None

    def watch(self) -> None:
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", lambda _: self.at("commit"))
        sys.addaudithook(self._audit)

    def at(self, name: str) -> None:
        """Stand at one point, perhaps for the last time."""
        now = to_micros(self.clock.now() if self.clock else START)
        self._seen[now, name] += 1
        count = self._seen[now, name]
        if self._file is not None:
            self._file.write(f"{now}|{name}|{count}\n")
        if self._moment is None:
            return
        if now > self._moment or (now, name, count) == (self._moment, self._name, self._count):
            self._moment = None
            self._strike()

    def _strike(self) -> None:
        if self.server is not None and self._how in {"server", "both"}:
            os.kill(self.server, signal.SIGKILL)
        if self.server is not None and self._how == "soon":
            threading.Timer(0.002, os.kill, (self.server, signal.SIGKILL)).start()
        if self.server is None or self._how in {"self", "both"}:
            os.kill(os.getpid(), signal.SIGKILL)

    def _statement(self, _conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = statement.split(None, 3)
        verb = words[0].upper()
        if verb in {"INSERT", "DELETE", "CREATE"}:
            self.at(f"{verb} {words[2]}")
        elif verb == "UPDATE":
            self.at(f"UPDATE {words[1]}")

    def _audit(self, name: str, args: tuple[Any, ...]) -> None:
        if name == "http.client.send":
            data = bytes(args[1])
            self.at(f"send {data.split(b' ', 2)[1].decode()}" if data[:5] == b"POST " else "send")
        elif name == "os.rename":
            self._path("rename", args[1])
        elif name == "open" and len(args) == 3 and args[2] is not None and args[2] & _WRITES:
            self._path("open", args[0])

    def _path(self, what: str, path: Any) -> None:
        if isinstance(path, str | Path) and str(path).startswith(self._home):
            relative = str(path)[len(self._home) + 1 :]
            self.at(f"{what} {relative.split('/', 1)[0]}")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--points", type=Path)
    parser.add_argument("--die")
    parser.add_argument("--how", default="self")
    options = parser.parse_args()
    home: Path = options.home
    store = Settings(home=home, database_url=f"sqlite:///{home / 'setpoint.db'}", actor="demo")
    points = Points(home, options.points, options.die, options.how)
    points.watch()
    with sole_owner(home):
        points.clock = FileClock(home / "clock", start=START)
        server = _serve(store)
        points.server = server.pid
        try:
            _replay(store, server)
        except Unavailable as error:
            sys.stderr.write(f"{error}\n")
            return LOST if server.wait(5) == -signal.SIGKILL else 1
        finally:
            points.server = None
            server.terminate()
            server.wait(15)
    return 0


def _replay(store: Settings, server: "subprocess.Popen[bytes]") -> None:
    story = Small(store, seed=0, until=UNTIL, told=lambda *_: None)
    try:
        story.begin(f"http://127.0.0.1:{_port(store, server)}")
        story.load()
        story.play(lambda _: None, SABOTAGE)
    finally:
        story.close()


def _serve(store: Settings) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "setpoint.serve", "--home", str(store.home), "--port", "0"]
    command += ["--with-parent", str(os.getpid())]
    return subprocess.Popen(command, env=environment(store))


def _port(store: Settings, server: "subprocess.Popen[bytes]") -> int:
    """Wait until the server says which port it has; an older one's word does not count."""
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end:
        try:
            said = json.loads((store.home / "run" / "inference.json").read_text())
        except (OSError, ValueError):
            said = {}
        if said.get("pid") == server.pid:
            return int(said["port"])
        if server.poll() is not None:
            break
        time.sleep(0.01)
    raise Unavailable("the inference server did not start")


def when(point: str) -> str:
    """Return a point with its time for people."""
    moment, name, count = point.rsplit("|", 2)
    at = datetime.fromtimestamp(int(moment) / 1e6, START.tzinfo)
    return f"{at:%d %H:%M} {name} #{count}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SetpointError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
