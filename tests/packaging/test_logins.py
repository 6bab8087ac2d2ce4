"""Who logs in at a registry: who was named, else whom `docker login` left."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from setpoint.config import registry_logins
from setpoint.errors import Denied
from setpoint.packaging.logins import Login, login_for

HOST = "registry.example:5000"
HELPER = """#!/bin/sh
read host
echo "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"s\\"}"
"""
ADA = base64.b64encode(b"ada:a:b").decode()


def said(folder: Path, **config: Any) -> list[Path]:
    (folder / "config.json").write_text(json.dumps(config))
    return [folder / "nothing.json", folder / "config.json"]


@pytest.mark.parametrize("name", [HOST, f"https://{HOST}"])
def test_a_login_is_read_as_docker_wrote_it(tmp_path: Path, name: str) -> None:
    found = login_for(HOST, None, said(tmp_path, auths={name: {"auth": ADA}}))
    assert found == Login("ada", "a:b")
    assert "a:b" not in repr(found)
    assert login_for("other.example", None, said(tmp_path, auths={name: {"auth": ADA}})) is None


def test_who_is_named_comes_first(tmp_path: Path) -> None:
    files = said(tmp_path, auths={HOST: {"auth": ADA}})
    assert login_for(HOST, Login("eve", "x"), files) == Login("eve", "x")


@pytest.mark.parametrize("config", ["", "[]", '{"auths": {}}', '{"auths": {"x": {}}}'])
def test_a_file_without_a_login_is_passed_over(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    assert login_for(HOST, None, [tmp_path / "config.json"]) is None


def test_a_helper_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-vault"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    files = said(tmp_path, credHelpers={HOST: "vault"})
    assert login_for(HOST, None, files) == Login(HOST, "s")
    stored = said(tmp_path, auths={HOST: {}}, credsStore="vault")
    assert login_for(HOST, None, stored) == Login(HOST, "s")
    helper.write_text("#!/bin/sh\necho credentials not found\nexit 1\n")
    with pytest.raises(Denied, match="has no login"):
        login_for(HOST, None, files)
    with pytest.raises(Denied, match="not installed"):
        login_for(HOST, None, said(tmp_path, credHelpers={HOST: "nothing"}))


def test_logins_are_where_their_tools_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    assert registry_logins() == [tmp_path / "auth.json", tmp_path / "config.json"]
