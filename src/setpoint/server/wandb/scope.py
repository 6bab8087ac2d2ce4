"""What answering one request may use, and how the client's names are ours."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from setpoint.core.operations import Context
from setpoint.errors import Invalid

#: The one entity that a project need not name.
ENTITY = "setpoint"


@dataclass(frozen=True, slots=True)
class Scope:
    """One request: its transaction, and the address it was sent to."""

    ctx: Context
    base: str = ""  #: ``http://127.0.0.1:8765``

    @property
    def conn(self) -> Connection:
        return self.ctx.conn


def experiment_of(entity: str | None, project: str | None) -> str:
    """Return the experiment of a client's project.

    A project of the default entity is the experiment of its name. One of another entity is
    called ``entity/project``, so that two teams' projects of one name stay apart.
    """
    name = project or "uncategorized"
    return name if entity in {None, "", ENTITY} else f"{entity}/{name}"


def project_of(experiment: str) -> tuple[str, str]:
    """Return entity and project of an experiment."""
    entity, _, name = experiment.rpartition("/")
    return entity or ENTITY, name


def to_id(kind: str, key: Any) -> str:
    """Return what the client calls a thing by: it takes some ids apart as base 64."""
    return base64.b64encode(f"{kind}:{key}".encode()).decode()


def from_id(kind: str, text: str) -> str:
    """Return the key in an id.

    Raises:
        Invalid: If the text is no id, or one of another kind.
    """
    try:
        found, _, key = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        found = key = ""
    if found != kind:
        raise Invalid(f"{text!r} is no id of a {kind}")
    return key


def number_in(kind: str, text: str) -> int:
    """Return the number in an id.

    Raises:
        Invalid: If the text is no id, or one of another kind.
    """
    key = from_id(kind, text)
    if not key.isdecimal():
        raise Invalid(f"{text!r} is no id of a {kind}")
    return int(key)
