"""Which code a run ran: git's commit and difference, and a snapshot of the project."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Invalid
from setpoint.runs.entities import Code

SUFFIXES = frozenset({".py", ".yaml", ".yml", ".toml", ".sql"})
_SKIPPED = frozenset({"node_modules", "__pycache__", "site-packages", "build", "dist"})
_FILES, _BYTES = 5_000, 50_000_000  #: more is no project's code
_SECONDS = 10  #: for git, which may hang on a network file system


def capture(folder: Path, store: ObjectStore) -> Code:
    """Record the code of the project in `folder`.

    The snapshot is taken even inside a git repository: commits can be lost and untracked
    files are in no difference. It is a manifest {path: address} in JSON; each file is its
    own object, so unchanged files cost nothing again. Hidden folders, virtual environments
    and everything that is no code or configuration (`SUFFIXES`) stay out.

    Raises:
        Invalid: If the folder holds more than 5,000 such files or 50 MB of them.
    """
    manifest: dict[str, str] = {}
    size = 0
    for path in _files(folder):
        data = path.read_bytes()
        size += len(data)
        if len(manifest) >= _FILES or size > _BYTES:
            raise Invalid(
                f"the project holds more than {_FILES:,} code files or 50 MB of them",
                where=str(folder),
                hint="keep a model's code in a folder of its own",
            )
        manifest[path.relative_to(folder).as_posix()] = store.put(data)
    snapshot = store.put(msgspec.json.encode(manifest, order="sorted"))
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return Code(snapshot=snapshot, files=len(manifest))
    diff = _git(folder, "diff", "--binary", "--no-ext-diff", "--relative", "HEAD", "--", ".")
    return Code(
        commit=commit.decode().strip(),
        dirty=bool(diff),
        diff=store.put(diff) if diff else None,
        snapshot=snapshot,
        files=len(manifest),
    )


def restore(store: ObjectStore, snapshot: str, folder: Path) -> int:
    """Write the files of a snapshot under `folder`; return how many.

    Raises:
        Invalid: If a path of the manifest would leave `folder`.
    """
    manifest = msgspec.json.decode(store.get(snapshot), type=dict[str, str])
    root = folder.resolve()
    for name, address in manifest.items():
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            raise Invalid(f"the snapshot's path {name!r} lies outside its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.get(address))
    return len(manifest)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name in _SKIPPED or path.is_symlink():
            continue
        if path.is_dir():
            if not (path / "pyvenv.cfg").exists():
                yield from _files(path)
        elif path.suffix in SUFFIXES:
            yield path


def _git(folder: Path, *command: str) -> bytes | None:
    """Return what git says, or None where there is no git, no repository or no answer."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            ["git", "-C", str(folder), *command],  # noqa: S607 - the user's own git
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
