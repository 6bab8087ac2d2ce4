"""Pushing to Debian's docker-registry, pulling from it, and what goes wrong on the way."""

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.packaging import made, tokens
from tests.ports import free_port

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Denied, Invalid, NotFound, Unavailable
from setpoint.models.entities import ModelVersion
from setpoint.packaging import references
from setpoint.packaging.bases import architecture, base_of
from setpoint.packaging.debian import PYTHON
from setpoint.packaging.entities import CYCLONEDX, Image
from setpoint.packaging.images import assemble
from setpoint.packaging.logins import Login
from setpoint.packaging.registry import Registry
from setpoint.packaging.workshop import Workshop
from setpoint.serve.entities import EndpointSettings

#: ``secret``, as htpasswd writes it.
ADA = "ada:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
LOGIN = Login("ada", "secret")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with made.registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return made.image_of({"etc/motd": b"hello"}, tmp_path / "made")


def silent(what: str) -> None:
    """Hear what a build tells, and keep it to oneself."""


def push(image: Image, to: str, login: Login | None = None) -> None:
    reference = references.image(to)
    Registry(reference, login).push(image, [reference.which], silent)


def skopeo(*words: str) -> Any:
    made.needs("skopeo")
    done = subprocess.run(["skopeo", *words], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout) if done.stdout.startswith("{") else done.stdout


def test_what_is_pushed_is_what_others_pull(host: str, image: Image, tmp_path: Path) -> None:
    push(image, f"{host}/team/late:3")
    found = skopeo("inspect", "--tls-verify=false", f"docker://{host}/team/late:3")
    assert found["Digest"] == image.digest
    skopeo(
        *("copy", "--src-tls-verify=false"),
        *(f"docker://{host}/team/late:3", f"oci:{tmp_path}/pulled:3"),
    )
    push(image, f"{host}/team/late:3")  # again: nothing to do, nothing wrong


def test_a_bill_refers_to_its_image(host: str, image: Image) -> None:
    push(image, f"{host}/bill:1")
    tag = image.digest.replace(":", "-")  # how a registry without the referrers API is asked
    index = asked(f"http://{host}/v2/bill/manifests/{tag}")
    (artifact,) = index["manifests"]
    assert artifact["artifactType"] == CYCLONEDX
    manifest = asked(f"http://{host}/v2/bill/manifests/{artifact['digest']}")
    assert manifest["subject"]["digest"] == image.digest
    assert manifest["layers"][0]["digest"] == image.sbom.descriptor.digest


def test_a_base_comes_from_a_registry_and_its_layers_are_mounted(
    host: str, late: ModelVersion, objects: ObjectStore, house: Any, tmp_path: Path
) -> None:
    layout = made.base(tmp_path / "base")
    skopeo(
        *("copy", "--dest-tls-verify=false"),
        *(f"oci:{layout}:1", f"docker://{host}/bases/python:3"),
    )
    asked_for = references.image(f"{host}/bases/python:3")
    shop = Workshop(house.settings.home / "images", tmp_path)
    base = base_of(asked_for, shop, None, [], silent)
    built = assemble(late, EndpointSettings(), objects, base, shop, silent).image
    assert built.mounts == {base.layers[0].digest: "bases/python"}
    base.layers[0].path.unlink()  # what is mounted is not sent
    push(built, f"{host}/mounted:1")
    config = skopeo("inspect", "--config", "--tls-verify=false", f"docker://{host}/mounted:1")
    assert "COLOUR=blue" in config["config"]["Env"]
    assert config["history"][0]["created_by"] == "somebody"


def test_a_base_of_many_machines_is_the_one_for_this(host: str, tmp_path: Path, house: Any) -> None:
    ours = made.image_of({f"usr/local/bin/{PYTHON}": b"x"}, tmp_path / "made")
    push(ours, f"{host}/many:ours")
    other = made.image_of({"x": b"x"}, tmp_path / "made", architecture="riscv64")
    push(other, f"{host}/many:other")
    manifests = [
        {
            **msgspec.to_builtins(each.manifest.descriptor),
            "platform": {"os": "linux", "architecture": kind},
        }
        for each, kind in ((other, "riscv64"), (ours, architecture()))
    ]
    kind = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
    asked(f"http://{host}/v2/many/manifests/all", index, kind)
    shop = Workshop(house.settings.home / "images", tmp_path)
    found = base_of(references.image(f"{host}/many:all"), shop, None, [], silent)
    assert found.digest == ours.digest
    assert found.python == f"/usr/local/bin/{PYTHON}"
    with pytest.raises(Invalid, match="riscv64"):
        base_of(references.image(f"{host}/many:other"), shop, None, [], silent)


def test_an_image_that_is_not_there_is_not_found(host: str, tmp_path: Path) -> None:
    shop = Workshop(tmp_path / "kept", tmp_path)
    with pytest.raises(NotFound, match="no image"):
        base_of(references.image(f"{host}/nobody:1"), shop, None, [], silent)


def test_a_registry_that_is_away_is_one_clear_error(image: Image) -> None:
    with pytest.raises(Unavailable, match="cannot be reached") as told:
        push(image, f"127.0.0.1:{free_port()}/a:1")
    assert "refused" in told.value.where
    with pytest.raises(Unavailable, match="cannot be reached"):
        push(image, "registry.invalid/a:1")


def test_what_is_no_registry_is_one_clear_error(image: Image) -> None:
    with tokens.speaking(b"220 mail.example ESMTP\r\n") as host:  # noqa: SIM117
        with pytest.raises(Unavailable, match="cannot be reached"):
            push(image, f"{host}/a:1")


def test_a_registry_with_passwords_lets_in_who_knows_one(image: Image, tmp_path: Path) -> None:
    (tmp_path / "users").write_text(ADA)
    auth = {"htpasswd": {"realm": "here", "path": str(tmp_path / "users")}}
    with made.registry(tmp_path / "registry", auth=auth) as host:
        with pytest.raises(Denied, match="asks for a login") as told:
            push(image, f"{host}/a:1")
        assert f"docker login {host}" in told.value.hint
        with pytest.raises(Denied):
            push(image, f"{host}/a:1", Login("ada", "wrong"))
        push(image, f"{host}/a:1", LOGIN)
        found = skopeo(
            *("inspect", "--tls-verify=false", "--creds=ada:secret", f"docker://{host}/a:1")
        )
        assert found["Digest"] == image.digest


def test_a_registry_that_trusts_a_token_service_is_pushed_to(image: Image, tmp_path: Path) -> None:
    with (
        tokens.service(tmp_path, LOGIN) as service,
        made.registry(tmp_path / "registry", auth={"token": service.settings}) as host,
    ):
        push(image, f"{host}/team/late:1", LOGIN)
        assert "repository:team/late:pull,push" in service.asked
        with pytest.raises(Denied, match="does not accept 'eve'"):
            push(image, f"{host}/team/late:1", Login("eve", "secret"))
        with pytest.raises(Denied, match="asks for a login"):
            push(image, f"{host}/team/late:1")
        with pytest.raises(Denied, match="accepts"):  # a token, for something else
            push(image, f"{host}/others/late:1", LOGIN)


def asked(url: str, body: Any = None, kind: str = "") -> Any:
    accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
    headers = {"Accept": accept, **({"Content-Type": kind} if kind else {})}
    data = None if body is None else json.dumps(body).encode()
    method = "GET" if data is None else "PUT"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        said = answer.read()
    return json.loads(said) if said else None
