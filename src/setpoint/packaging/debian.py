"""A base of this machine's own Debian packages: a Python and its libraries, no shell.

Nothing is installed and nobody need be root: packages are downloaded, checked by apt, and read.
"""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from setpoint.errors import Invalid, Unavailable
from setpoint.packaging.bytecode import compile_all
from setpoint.packaging.entities import Base, Component, Told
from setpoint.packaging.trees import Tree
from setpoint.packaging.workshop import Workshop

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"

_ROOTS = (f"{PYTHON}-minimal", f"lib{PYTHON}-stdlib", "libstdc++6", "libgomp1")
#: What a server has no use for: terminals, dbm, NIS, and what asks questions while installing.
_WITHOUT = re.compile(
    r"debconf|dpkg|media-types|mime-support|readline-common"
    r"|lib(db5\.3|ncursesw6|nsl2|readline8|tinfo6|tirpc3)(t64)?"
)
_KEEPS = re.compile(r"(etc/ssl|usr/lib|usr/bin/python3\.\d+$|usr/share/doc/[^/]+/copyright$)")
_DROPS = re.compile(
    r"usr/lib/[^/]+/(gconv|audit|engines-3|perl-base)/|usr/lib/(valgrind|debug|binfmt)/"
    r"|usr/lib/python3[^/]*/(test|ensurepip|idlelib|lib2to3|pydoc_data|tkinter|turtledemo|config-)"
)
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  #: at the root, links into usr
_MOUNTED = ("dev", "proc", "run", "sys")  #: by whoever runs the image
_LINE = re.compile(r"'[^']*' (?P<file>\S+) \d+ SHA256:(?P<sha256>[0-9a-f]{64})")
_DEPENDS = re.compile(r" (?P<either>[ |])(?:Pre)?Depends: (?P<name>\S+)")
_HINT = "give an image to stand on: --base oci:PATH or --base REGISTRY/NAME:TAG"
_USERS = b"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n"
_GROUPS = b"root:x:0:\nnonroot:x:65532:\n"


class Package(NamedTuple):
    """A Debian package as apt would download it."""

    file: str
    sha256: str


def debian(workshop: Workshop, told: Told) -> Base:
    """Return the base made of the packages that apt knows now; a known set is not made again.

    Raises:
        Invalid: If this machine has no apt, or its packages have another Python.
        Unavailable: If they cannot be downloaded.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Invalid("this machine has no Debian packages to make a base of", hint=_HINT)
    packages = _packages(_closure())
    made_of = [
        Path(__file__).read_text(encoding="utf-8"),
        *(f"{each.file} {each.sha256}" for each in packages),
    ]
    layer = workshop.keep(made_of, lambda: _tree(packages, told))
    return Base(
        name=f"packages of {_system()}",
        layers=[layer],
        python=f"/usr/bin/{PYTHON}",
        env=["PATH=/usr/local/bin:/usr/bin"],
        history=[{"created_by": "setpoint: Debian packages"}],
        components=[_component(each) for each in packages],
    )


def _closure() -> list[str]:
    """Return the names of the packages that Python and its libraries need."""
    said = _apt("apt-cache", "depends", "--recurse", "--important", *_ROOTS)
    needs: dict[str, list[str]] = {}
    one, alternative = "", False
    for line in said.splitlines():
        found = _DEPENDS.match(line)
        if found is not None:
            if not alternative:  # of several that would do, the first
                needs.setdefault(one, []).append(found["name"])
            alternative = found["either"] == "|"
        elif line and not line[0].isspace():
            one, alternative = line.partition(":")[0], False
    wanted: set[str] = set()
    waiting = list(_ROOTS)
    while waiting:
        name = waiting.pop()
        if name not in wanted and not name.startswith("<") and not _WITHOUT.fullmatch(name):
            wanted.add(name)
            waiting += needs.get(name, [])
    return sorted(wanted)


def _packages(names: Iterable[str]) -> list[Package]:
    said = _apt("apt-get", "download", "--print-uris", "-qq", *names)
    found = [Package(line["file"], line["sha256"]) for line in _LINE.finditer(said)]
    if not found:
        raise Unavailable("apt knows none of the packages of a base", hint="run: apt-get update")
    return sorted(found)


def _apt(*command: str) -> str:
    done = subprocess.run(  # noqa: S603 - names of packages, no shell
        command, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Unavailable(
            f"apt has no {PYTHON} to make a base of, which is what the packages here are for",
            where=said[-1].removeprefix("E: "),
            hint=f"run apt-get update, or {_HINT}",
        )
    return done.stdout


def _tree(packages: list[Package], told: Told) -> Tree:
    told(f"downloading {len(packages)} Debian packages for the base")
    tree = Tree()
    with tempfile.TemporaryDirectory(prefix="setpoint-base-") as name:
        folder = Path(name)
        _download(packages, folder)
        for package in packages:
            deb = folder / package.file
            if hashlib.sha256(deb.read_bytes()).hexdigest() != package.sha256:
                raise Unavailable(f"the package {package.file} arrived damaged", hint="try again")
            for path, member in _members(deb):
                if _KEEPS.match(path) and not _DROPS.match(path):
                    member(tree, path)
            # Where scanners look for what an image without dpkg has.
            control = _dpkg("-f", deb)
            tree.file(f"var/lib/dpkg/status.d/{package.file.partition('_')[0]}", control)
    for each in _MERGED:
        tree.link(each, f"usr/{each}")
    tree.link("usr/bin/python3", PYTHON)
    tree.file("etc/passwd", _USERS)
    tree.file("etc/group", _GROUPS)
    tree.file("etc/os-release", Path("/etc/os-release").read_bytes())
    tree.folder("tmp", 0o1777)
    for each in _MOUNTED:
        tree.folder(each)
    compile_all(tree)
    return tree


def _download(packages: list[Package], folder: Path) -> None:
    # By version: what was named is what is downloaded, or nothing.
    named = [
        "=".join(each.file.removesuffix(".deb").split("_")[:2]).replace("%3a", ":")
        for each in packages
    ]
    done = subprocess.run(  # noqa: S603
        ["apt-get", "download", "-qq", *named],  # noqa: S607 - the system's own
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("E: ")]
        raise Unavailable(
            "the Debian packages of the base could not be downloaded",
            where=(said or ["E: no reason was given"])[-1].removeprefix("E: "),
            hint=f"is the package mirror reachable? or {_HINT}",
        )


class _Member:
    """A file or link of a package, to be put into a tree."""

    def __init__(self, tar: tarfile.TarFile, info: tarfile.TarInfo) -> None:
        self._tar = tar
        self._info = info

    def __call__(self, tree: Tree, path: str) -> None:
        info = self._info
        if info.issym():
            tree.link(path, info.linkname)
        elif info.isreg() and (file := self._tar.extractfile(info)) is not None:
            tree.file(path, file.read(), executable=bool(info.mode & 0o111))


def _members(deb: Path) -> Iterator[tuple[str, _Member]]:
    """Yield what a package would install, under paths of a system whose usr is merged."""
    with tarfile.open(fileobj=io.BytesIO(_dpkg("--fsys-tarfile", deb))) as tar:
        for info in tar:
            path = info.name.removeprefix("./").strip("/")
            if path.partition("/")[0] in _MERGED:
                path = f"usr/{path}"
            yield path, _Member(tar, info)


def _dpkg(what: str, deb: Path) -> bytes:
    command = ["dpkg-deb", what, str(deb)]
    return subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603


def _component(package: Package) -> Component:
    name, version, architecture = package.file.removesuffix(".deb").split("_")
    version = version.replace("%3a", ":")
    system = _release()
    purl = f"pkg:deb/{system.get('ID', 'debian')}/{name}@{version.replace('+', '%2B')}"
    purl += f"?arch={architecture}&distro={system.get('ID')}-{system.get('VERSION_ID', '')}"
    digest = {"SHA-256": package.sha256}
    return Component(kind="library", name=name, version=version, purl=purl, hashes=digest)


def _system() -> str:
    return _release().get("PRETTY_NAME", "this system")


def _release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {name: value.strip('"') for name, _, value in pairs if name}
