"""Starting a release with a policy of the test's own, whatever a spec says."""

from setpoint.db.local import LocalBackend
from setpoint.releases import service
from setpoint.releases.entities import Release
from setpoint.releases.service import Start


def begun(backend: LocalBackend, command: Start) -> Release:
    with backend.engine.begin() as conn:
        return service.start(backend.context(conn), command)
