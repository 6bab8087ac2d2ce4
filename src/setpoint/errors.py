"""Every error Setpoint raises on purpose.

SetpointError
├── NotFound       the thing named does not exist
├── Conflict       it exists, but in a state that forbids this
├── Invalid        the request can never succeed as written
│   └── MissingExtra   an optional dependency is not installed
├── Denied         the actor may not do this
├── Unavailable    a dependency failed; retrying may help
├── UserCodeFailed the user's own Python function raised
└── Defect         Setpoint itself is wrong

The class fixes the *kind* of failure. The message says what happened and where, in the
caller's own names; the hint says what to do next. HTTP statuses (`server.problems`) and
exit codes (`cli.main`) are derived from the class, in one table each.
"""

from typing import ClassVar


class SetpointError(Exception):
    """Base of all deliberate failures. Caught at the outermost frames only."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.message]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class NotFound(SetpointError):
    """The thing named does not exist."""

    code = "not-found"


class Conflict(SetpointError):
    """It exists, but in a state that forbids this."""

    code = "conflict"


class Invalid(SetpointError):
    """The request can never succeed as written."""

    code = "invalid"


class MissingExtra(Invalid):
    """An optional dependency is not installed; the hint has the `pip install` line."""

    code = "missing-extra"


class Denied(SetpointError):
    """The actor may not do this."""

    code = "denied"


class Unavailable(SetpointError):
    """A dependency failed; retrying may help."""

    code = "unavailable"


class UserCodeFailed(SetpointError):
    """A function of the user's project raised; `where` is its file and line."""

    code = "user-code-failed"


class Defect(SetpointError):
    """Setpoint itself is wrong; `where` is a file with the details."""

    code = "defect"
