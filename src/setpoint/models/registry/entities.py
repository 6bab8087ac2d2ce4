"""What the registry keeps about models beyond their weights."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from setpoint.models.entities import PROMPT, ModelVersion


class Stage(StrEnum):
    """MLflow's stages, which its aliases replaced; kept for clients that still set them."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


class Keep(Struct, frozen=True, kw_only=True):
    """Which versions of a model stay without anybody naming them by an alias."""

    newest: int | None = None  #: so many of the newest stay; None: number says nothing
    days: int | None = None  #: younger ones stay; None: age says nothing


class Model(Struct, frozen=True, kw_only=True):
    """A model by name: what is said of it as a whole."""

    model: str
    versions: int  #: numbers given so far, deleted versions included
    created_at: datetime
    updated_at: datetime
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    keep: Keep | None = None  #: None: every version stays
    deleted_at: datetime | None = None

    @property
    def ref(self) -> str:
        """How events name it."""
        return f"model:{self.model}"

    @property
    def prompt(self) -> bool:
        """Whether it holds versions of a prompt rather than of a model."""
        return self.tags.get(PROMPT, "").lower() == "true"


class Entry(Struct, frozen=True, kw_only=True):
    """A version with what is said of it."""

    version: ModelVersion
    tags: dict[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)


class Move(Struct, frozen=True, kw_only=True):
    """One line of the history of a model's aliases."""

    alias: str
    was: int | None  #: the version it named before; None: it was new
    number: int | None  #: the version it names since; None: it was dropped
    actor: str
    at: datetime
    reason: str
