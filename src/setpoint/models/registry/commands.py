"""What can be asked of the registry, and what comes back: the commands and their answers."""

from msgspec import UNSET, Struct, UnsetType, field

from setpoint.models.registry.entities import Entry, Keep, Model, Move, Stage


class CreateModel(Struct, frozen=True, kw_only=True):
    model: str
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)


class OneModel(Struct, frozen=True, kw_only=True):
    model: str


class UpdateModel(Struct, frozen=True, kw_only=True):
    model: str
    description: str | UnsetType = UNSET
    keep: Keep | UnsetType | None = UNSET


class RenameModel(Struct, frozen=True, kw_only=True):
    model: str
    new: str


class DeleteModel(Struct, frozen=True, kw_only=True):
    model: str
    reason: str = ""


class AddVersion(Struct, frozen=True, kw_only=True):
    """A version whose files are elsewhere: of a run, a logged model or another system."""

    model: str
    number: int = 0  #: what it was elsewhere, if that is still free here; 0: the next
    source: str  #: URI of its files
    run_id: str = ""
    run_link: str = ""
    logged_model: str = ""  #: id of the logged model it is
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    why: str = "registered from elsewhere"
    status: str = "ready"  #: or ``pending`` or ``failed``
    status_message: str = ""
    stage: Stage = Stage.NONE


class OneVersion(Struct, frozen=True, kw_only=True):
    model: str
    number: int


class UpdateVersion(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    description: str | UnsetType = UNSET
    status: str | UnsetType = UNSET
    status_message: str | UnsetType = UNSET


class MoveToStage(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    stage: Stage
    archive: bool = False  #: whether the versions that are in the stage now are archived


class DeleteVersion(Struct, frozen=True, kw_only=True):
    model: str
    number: int
    reason: str = ""


class SetTags(Struct, frozen=True, kw_only=True):
    model: str
    number: int = 0  #: 0: of the model itself
    tags: dict[str, str] = field(default_factory=dict)  #: set, over what they were
    untag: list[str] = field(default_factory=list)  #: removed; one that is not there is no error


class Tags(Struct, frozen=True, kw_only=True):
    tags: dict[str, str]


class DropAlias(Struct, frozen=True, kw_only=True):
    model: str
    alias: str
    reason: str = ""


class Dropped(Struct, frozen=True, kw_only=True):
    model: str
    alias: str
    number: int | None  #: the version it named; None: there was no such alias


class AliasHistory(Struct, frozen=True, kw_only=True):
    model: str
    alias: str | None = None  #: one only
    limit: int = 100


class Moves(Struct, frozen=True, kw_only=True):
    moves: list[Move]  #: newest first


class LatestVersions(Struct, frozen=True, kw_only=True):
    models: list[str]


class Latest(Struct, frozen=True, kw_only=True):
    versions: dict[str, list[Entry]]  #: by model: the newest of every stage


class Deleted(Struct, frozen=True, kw_only=True):
    models: list[Model]
    versions: list[Entry]  #: of models that are not deleted themselves
