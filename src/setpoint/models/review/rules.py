"""What follows from decisions about versions."""

from collections.abc import Iterable, Sequence

from setpoint.models.review.entities import Approval


def standing(approvals: Iterable[Approval]) -> dict[str, Approval]:
    """Return the decision of each role that holds: its newest; ties by id, which has an order."""
    held: dict[str, Approval] = {}
    for each in sorted(approvals, key=lambda one: (one.at, one.id)):
        held[each.role] = each
    return held


def lacking(roles: Sequence[str], approvals: Iterable[Approval]) -> list[str]:
    """Return the roles, of those asked, that have not approved or have rejected since."""
    held = standing(approvals)
    return [role for role in roles if role not in held or not held[role].approved]
