"""Who asks: one user of one entity, since a store has one owner."""

from typing import Any

from msgspec import Struct

from setpoint.server.wandb.paging import Connection, everything
from setpoint.server.wandb.scope import ENTITY, Scope, to_id


class Member(Struct, frozen=True):
    id: str
    name: str
    username: str
    role: str = "admin"
    admin: bool = True
    pending: bool = False
    email: str = ""
    photo_url: str | None = None
    account_type: str = "MEMBER"
    api_key: str | None = None


class User:
    """The one who asks."""

    typename = "User"
    admin = True
    email = ""
    entity = ENTITY
    flags = "{}"
    deleted_at = None

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.name = self.username = scope.ctx.actor
        self.id = to_id("User", self.name)

    @property
    def api_keys(self) -> Connection:
        """Return no key: none is needed on this machine, and none is kept."""
        return everything([])

    @property
    def teams(self) -> Connection:
        return everything([Entity(self.scope)])

    @property
    def organizations(self) -> list["Organization"]:
        return [Organization(self.scope)]


class Entity:
    """A team: the default one, or one that a client named."""

    available = True
    photo_url = None
    read_only = False
    read_only_admin = False
    is_team = True
    entity_type = "team"
    private_only = False
    storage_bytes = 0
    code_saving_enabled = True
    default_access = "PRIVATE"
    is_paid = True
    xxhash_digests_enabled = False

    def __init__(self, scope: Scope, name: str = ENTITY) -> None:
        self.scope = scope
        self.name = name
        self.id = to_id("Entity", name)

    @property
    def members(self) -> list[Member]:
        user = User(self.scope)
        return [Member(user.id, user.name, user.username)]

    @property
    def organization(self) -> "Organization":
        return Organization(self.scope, self.name)

    @property
    def user(self) -> User:
        return User(self.scope)


class Organization:
    """Above the entity stands one of its own name."""

    core_weave_organization_id = None

    def __init__(self, scope: Scope, name: str = ENTITY) -> None:
        self.scope = scope
        self.name = name
        self.id = to_id("Organization", name)

    @property
    def org_entity(self) -> Entity:
        return Entity(self.scope, self.name)

    def feature_flags(self, **_: Any) -> list[Any]:
        return []
