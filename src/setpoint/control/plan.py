"""What applying a spec would change: its keys, what follows, and what was done by hand."""

from msgspec import Struct

from setpoint.control.spec.explain import Change


class ModelPlan(Struct, frozen=True, kw_only=True):
    """What `apply` does with one model."""

    model: str
    file: str
    kind: str  #: ``create``, ``update`` or ``unchanged``
    changes: list[Change]  #: keys of the spec; empty where it is new
    actions: list[str]  #: what follows, in words and in order
    drift: list[str]  #: what was changed by hand, outside the spec
    unenforced: list[str] = []  #: keys that are set and that nothing acts on yet
    consequences: list[str] = []  #: what is given up by what is not logged, in words


class Plan(Struct, frozen=True, kw_only=True):
    """What `apply` does with a project."""

    models: list[ModelPlan]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return all(m.kind == "unchanged" and not m.actions for m in self.models)
