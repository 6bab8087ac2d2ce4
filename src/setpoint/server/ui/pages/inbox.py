"""What waits for me: approvals that somebody asked for, and comments that mention me."""

from setpoint.comments.entities import Comment
from setpoint.comments.service import Mentions, mentions
from setpoint.models.review.entities import Asked
from setpoint.models.review.service import ListAsked, asked
from setpoint.releases.entities import Release, State
from setpoint.releases.service import ListReleases
from setpoint.releases.service import ls as releases
from setpoint.server.ui import queries
from setpoint.server.ui.page import Ask, Page, Table
from setpoint.server.ui.pages import talk

_MENTIONS = 100


def inbox(ask: Ask) -> Page:
    """Answer "what waits for me?"."""
    person = ask.query.get("person", "").strip() or ask.backend.settings.actor
    role = ask.query.get("role", "").strip()
    versions: list[Asked] = ask.call(asked, ListAsked()).asked
    held: list[Release] = ask.call(releases, ListReleases(limit=200)).releases
    waiting = [each for each in held if each.state is State.WAITING]
    roles = sorted({a.role for a in versions} | {r for w in waiting for r in w.policy.approvers})
    if role:
        versions = [each for each in versions if each.role == role]
        waiting = [each for each in waiting if role in each.policy.approvers]
    found: list[Comment] = ask.call(mentions, Mentions(person=person, limit=_MENTIONS)).comments
    return Page(
        template="inbox.html",
        title="For me",
        active="Team",
        values={
            "heading": _heading(len(versions) + len(waiting), len(found), role),
            "person": person,
            "role": role,
            "roles": roles,
            "people": ask.read(queries.people),
            "versions": versions,
            "releases": waiting,
            "mentions": [talk.shown(ask, each) for each in found],
        },
        tables={
            "mentions": Table(
                columns=["at", "actor", "subject", "text"],
                rows=[[c.at, c.actor, c.subject, c.text] for c in found],
            ),
            "approvals": Table(
                columns=["since", "what", "role", "asked_by", "reason"],
                rows=[
                    *([a.at, f"{a.model}/{a.number}", a.role, a.actor, a.reason] for a in versions),
                    *(
                        [w.started_at, w.id, " or ".join(w.policy.approvers), "", w.verdict_why]
                        for w in waiting
                    ),
                ],
            ),
        },
    )


def _heading(approvals: int, mentioned: int, role: str) -> str:
    """Return what waits, in a sentence; mentions only where no approval does."""
    of = f" of {role}" if role else ""
    if approvals:
        return f"{approvals} approval{' waits' if approvals == 1 else 's wait'} for an answer{of}"
    if mentioned:
        said = f"{mentioned} comment{' mentions' if mentioned == 1 else 's mention'}"
        return f"No approval waits{of}; {said} you"
    return f"Nothing waits{of}"
