"""Whom a registry is told that asks: from the command, or as `docker login` left it."""

import base64
import binascii
import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from setpoint.errors import Denied


class Login(Struct, frozen=True):
    """A user of a registry."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def login_for(host: str, given: Login | None, files: Iterable[Path]) -> Login | None:
    """Return who logs in at a registry: who was given, else the first that a file knows.

    Args:
        host: Of the registry, with its port.
        given: What the command was told.
        files: In the format of Docker's ``config.json``; those that are not there are passed over.

    Raises:
        Denied: If the helper program that a file names gives no password.
    """
    if given is not None:
        return given
    for file in files:
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and (found := _in_file(said, host)) is not None:
            return found
    return None


def _in_file(said: dict[str, Any], host: str) -> Login | None:
    names = [host, f"https://{host}"]
    if host == "docker.io":
        names = ["https://index.docker.io/v1/", *names]
    for name in names:
        helper = said.get("credHelpers", {}).get(name)
        if helper is not None:
            return _from_helper(helper, name)
        known = said.get("auths", {}).get(name)
        if known is None:
            continue
        if known.get("auth"):
            return _decoded(known["auth"])
        if said.get("credsStore"):
            return _from_helper(said["credsStore"], name)
    return None


def _decoded(auth: str) -> Login | None:
    try:
        user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(user, password)


def _from_helper(helper: str, host: str) -> Login:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise Denied(
            f"the login at {host} is kept by docker-credential-{helper}, which is not installed",
            hint="install it, or give --user and SETPOINT_REGISTRY_PASSWORD",
        )
    done = subprocess.run(  # noqa: S603 - the user's own helper, found on the user's own path
        [program, "get"], input=host, capture_output=True, text=True, check=False
    )
    try:
        said = json.loads(done.stdout)
        return Login(said["Username"], said["Secret"])
    except (ValueError, KeyError, TypeError):
        raise Denied(
            f"docker-credential-{helper} has no login at {host}",
            where=(done.stdout or done.stderr).strip()[:200],
            hint=f"run: docker login {host}",
        ) from None
