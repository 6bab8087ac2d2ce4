"""How images, folders and versions are named."""

from pathlib import Path

import pytest

from setpoint.errors import Invalid
from setpoint.packaging.references import (
    Archive,
    Folder,
    ImageReference,
    base,
    destination,
    image,
    tag_name,
)

DIGEST = "sha256:" + "0f" * 32


@pytest.mark.parametrize(
    ("said", "host", "name", "which"),
    [
        ("registry.example:5000/team/churn:3", "registry.example:5000", "team/churn", "3"),
        ("registry.example/churn", "registry.example", "churn", "latest"),
        ("localhost/churn", "localhost", "churn", "latest"),
        ("docker.io/python:3.11-slim", "docker.io", "library/python", "3.11-slim"),
        (f"ghcr.io/a/b__c@{DIGEST}", "ghcr.io", "a/b__c", DIGEST),
        (f"ghcr.io/a/b:1@{DIGEST}", "ghcr.io", "a/b", DIGEST),
        ("[::1]:5000/a:1", "[::1]:5000", "a", "1"),
    ],
)
def test_an_image_is_named_as_everywhere(said: str, host: str, name: str, which: str) -> None:
    found = image(said)
    assert (found.host, found.name, found.which) == (host, name, which)
    assert image(str(found)) == found


@pytest.mark.parametrize(
    "said",
    [
        "",
        "churn",
        "team/churn",
        "registry.example/",
        "registry.example/Churn",
        "registry.example/a//b",
        "registry.example/a:",
        "registry.example/a:-x",
        "registry.example/a@sha256:12",
        "registry.example:port/a",
        "registry.example/a b",
        "https://registry.example/a",
    ],
)
def test_what_is_no_reference_is_refused(said: str) -> None:
    with pytest.raises(Invalid):
        image(said)


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("localhost:5000/a", "http://localhost:5000/v2/"),
        ("127.0.0.1:5000/a", "http://127.0.0.1:5000/v2/"),
        ("[::1]:5000/a", "http://[::1]:5000/v2/"),
        ("[::1]/a", "http://[::1]/v2/"),
        ("127.0.0.1.example.com/a", "https://127.0.0.1.example.com/v2/"),
        ("localhost.example.com/a", "https://localhost.example.com/v2/"),
        ("registry.example:5000/a", "https://registry.example:5000/v2/"),
        ("docker.io/a", "https://registry-1.docker.io/v2/"),
    ],
)
def test_plain_http_is_for_this_machine_only(said: str, url: str) -> None:
    assert image(said).url == url


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("churn.tar", Archive(Path("churn.tar"))),
        ("out/churn.tar", Archive(Path("out/churn.tar"))),
        ("/x/churn.tar", Archive(Path("/x/churn.tar"))),
        ("images", Folder(Path("images"))),
        ("./registry.example/churn", Folder(Path("registry.example/churn"))),
        ("oci:churn.tar", Folder(Path("churn.tar"))),
        ("oci-archive:churn", Archive(Path("churn"))),
        ("registry.example/churn:1", ImageReference("registry.example", "churn", "1")),
        ("localhost/churn.tar", ImageReference("localhost", "churn.tar")),
    ],
)
def test_an_image_goes_where_its_destination_says(said: str, meant: object) -> None:
    assert destination(said) == meant


@pytest.mark.parametrize("said", ["oci:", "oci-archive:", "", "registry.example/UP"])
def test_a_destination_that_is_none_is_refused(said: str) -> None:
    with pytest.raises(Invalid):
        destination(said)


def test_a_base_is_a_layout_or_an_image(tmp_path: Path) -> None:
    assert base("oci:./python:3.11") == Folder(Path("python"), "3.11")
    assert base("oci:./python") == Folder(Path("python"))
    assert base("ghcr.io/a/python:3") == ImageReference("ghcr.io", "a/python", "3")
    odd = tmp_path / "odd:1"
    odd.mkdir()
    assert base(f"oci:{odd}") == Folder(odd)
    with pytest.raises(Invalid, match="names no registry"):
        base("python:3.11")


@pytest.mark.parametrize("tag", ["", "-1", "a b", "a/b", "x" * 129])
def test_a_tag_that_is_none_is_refused(tag: str) -> None:
    with pytest.raises(Invalid, match="no tag"):
        tag_name(tag)
