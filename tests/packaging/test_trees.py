"""Layers: the same files are the same bytes, whoever writes them, wherever and when."""

import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.packaging.bytecode import compile_all
from setpoint.packaging.trees import Tree, layer

NAMES = st.text("abc é", min_size=1, max_size=8).filter(lambda name: name.strip("."))
FILES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map(lambda parts: "d/" + "/".join(parts) + ".txt"),
    st.binary(max_size=50),
    max_size=6,
)


def of(files: dict[str, bytes]) -> Tree:
    tree = Tree()
    for path, data in files.items():
        tree.file(path, data)
    return tree


@given(FILES)
def test_a_layer_is_what_is_in_it_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    first, second = (tmp_path_factory.mktemp("layer") for _ in range(2))
    one = layer(of(files), first)
    other = layer(of(dict(reversed(files.items()))), second)
    assert (one.digest, one.diff_id, one.size) == (other.digest, other.diff_id, other.size)
    packed = one.path.read_bytes()
    assert one.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert one.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"
    with tarfile.open(one.path) as tar:
        held = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}  # type: ignore[union-attr]
        assert held == files
        assert {(m.uid, m.gid, m.uname, m.mtime) for m in tar.getmembers()} <= {(0, 0, "", 0)}


def test_folders_come_before_what_is_in_them(tmp_path: Path) -> None:
    tree = of({"opt/a/b.txt": b"", "opt/a.txt": b""})
    tree.link("opt/a/c", "b.txt")
    tree.folder("tmp", 0o1777)
    with tarfile.open(layer(tree, tmp_path).path) as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == [
        "opt",
        "opt/a",
        "opt/a.txt",
        "opt/a/b.txt",
        "opt/a/c",
        "tmp",
    ]
    assert [m.name for m in members if m.isdir()] == ["opt", "opt/a", "tmp"]
    assert members[-1].mode == 0o1777
    assert members[-2].linkname == "b.txt"


SOURCE = b'''
"""A module."""
import os

NAMES = {"a", "b", "c"}


def known(name):
    return name in {"x", "y", "z", 1, 2.5, None} or name == os.sep
'''


def test_compiled_modules_are_the_same_in_every_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from setpoint.packaging.bytecode import compile_all\n"
        "from setpoint.packaging.trees import Tree, layer\n"
        "tree = Tree()\n"
        "tree.file('opt/m.py', pathlib.Path(sys.argv[1]).read_bytes())\n"
        "compile_all(tree)\n"
        "print(layer(tree, pathlib.Path(sys.argv[2])).digest)\n"
    )
    source = tmp_path / "m.py"
    source.write_bytes(SOURCE)
    said = {
        subprocess.run(
            [sys.executable, "-c", f"{before}\n{code}", str(source), str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, before in (("1", ""), ("2", "NAMES = known = 'abcxyz'"), ("3", "import json"))
    }
    assert len(said) == 1


def test_compiled_modules_are_used_without_looking_at_their_source(tmp_path: Path) -> None:
    tree = of({"m.py": SOURCE, "broken.py": b"def (", "data.txt": b"def ("})
    compile_all(tree)
    compiled = dict(tree.files())
    name = f"__pycache__/m.{sys.implementation.cache_tag}.pyc"
    assert set(compiled) == {"m.py", "broken.py", "data.txt", name}
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / name).write_bytes(compiled[name])
    (tmp_path / "m.py").write_text("raise SystemExit('the source was read')")
    checked = subprocess.run(
        [sys.executable, "-c", "import m; print(m.known('x'), m.__doc__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout.strip() == "True A module.", checked.stderr
