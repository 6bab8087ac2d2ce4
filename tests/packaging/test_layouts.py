"""Layouts of images, read by others' tools and by ours."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from tests.packaging import made

from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.packaging.entities import Image
from setpoint.packaging.layouts import Layout, write_archive, write_folder


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return made.image_of({"etc/motd": b"hello"}, tmp_path / "made")


def inspected(where: str) -> Any:
    made.needs("skopeo")
    done = subprocess.run(["skopeo", "inspect", where], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_a_folder_and_an_archive_are_what_skopeo_reads(tmp_path: Path, image: Image) -> None:
    write_folder(tmp_path / "folder", image, ["1", "stable"])
    write_archive(tmp_path / "deep" / "image.tar", image, ["1"])
    for where in (f"oci:{tmp_path}/folder:stable", f"oci-archive:{tmp_path}/deep/image.tar:1"):
        found = inspected(where)
        assert found["Digest"] == image.digest
        assert found["Layers"] == [image.layers[0].digest]


def test_an_archive_is_the_same_every_time(tmp_path: Path, image: Image) -> None:
    for name in ("a.tar", "b.tar"):
        write_archive(tmp_path / name, image, ["1"])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert {member.mtime for member in tar} == {0}


def test_images_live_side_by_side_and_a_tag_moves(tmp_path: Path, image: Image) -> None:
    other = made.image_of({"etc/motd": b"bye"}, tmp_path / "made")
    folder = tmp_path / "folder"
    write_folder(folder, image, ["1", "stable"])
    write_folder(folder, other, ["2", "stable"])
    layout = Layout(folder)
    digests = {tag: layout.manifest(tag).digest for tag in ("1", "2", "stable")}
    assert digests == {"1": image.digest, "2": other.digest, "stable": other.digest}
    with pytest.raises(Invalid, match="3 images"):
        layout.manifest("")
    with pytest.raises(NotFound, match="no image '9'") as told:
        layout.manifest("9")
    assert "1, 2, stable" in told.value.hint


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path, image: Image) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Conflict, match="something else"):
        write_folder(tmp_path, image, ["1"])
    with pytest.raises(Conflict, match="is a file"):
        write_folder(tmp_path / "notes.txt", image, ["1"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_is_no_layout_is_one_clear_error(tmp_path: Path, image: Image) -> None:
    with pytest.raises(NotFound, match="no OCI image layout"):
        Layout(tmp_path)
    write_folder(tmp_path / "folder", image, ["1"])
    (tmp_path / "folder" / "index.json").write_text("{")
    with pytest.raises(Invalid, match="index of an OCI image layout"):
        Layout(tmp_path / "folder").manifest("1")


def test_a_layer_that_is_missing_is_told(tmp_path: Path, image: Image) -> None:
    write_folder(tmp_path / "folder", image, ["1"])
    layout = Layout(tmp_path / "folder")
    path = layout.path(image.layers[0].descriptor)
    path.unlink()
    with pytest.raises(NotFound, match=image.layers[0].digest):
        layout.path(image.layers[0].descriptor)
