"""The pictures of a version: where it comes from and led to, and how true its chances are."""

from urllib.parse import quote

from setpoint.charts.draw import draw
from setpoint.charts.lineage import Node, lineage
from setpoint.charts.palette import of_version
from setpoint.charts.reliability import reliability
from setpoint.models.entities import ModelVersion
from setpoint.models.graphs import flows, rules
from setpoint.models.graphs.entities import Composed, Ensemble, Switch
from setpoint.profiles.quality import calibration
from setpoint.profiles.reference import Reference
from setpoint.releases.entities import Release
from setpoint.runs.entities import Run
from setpoint.server.ui import words
from setpoint.server.ui.page import Drawn

_COLUMN = 520  #: px, of one of two columns
_DATASETS = 4  #: that a run read, of a version from elsewhere


def calibrated(found: ModelVersion, reference: Reference | None) -> dict[str, Drawn]:
    """Return how true the version's probabilities were on the rows its gate judged it by."""
    joint = None if reference is None else reference.joint
    if joint is None or not joint.labelled:
        return {}
    groups = calibration(joint)
    title = f"{joint.labelled:,} held-out rows, in groups of ascending score"
    drawn = reliability(
        groups.score.tolist(),
        groups.positives.tolist(),
        title=title,
        color=of_version(found.number),
    )
    return {"calibration": lambda width: draw(drawn, min(width, _COLUMN))}


def origin(found: ModelVersion, releases: list[Release], run: Run | None, width: float) -> str:
    """Return the way from data over the run to the version and its releases.

    Of a version from elsewhere what is known: the data its run read, or its source alone.
    """
    me = f"v{found.number}"
    nodes, edges = _causes(found, run)
    nodes.append(
        Node(
            key=me,
            column=2,
            kind="version",
            name=f"{found.model} {me}",
            href=f"/models/{quote(found.model)}/{found.number}",
            color=of_version(found.number),
        )
    )
    last = next((node.key for node in nodes if node.column == 1), None)
    edges += [(last, me)] if last else []
    for release in releases[:3]:
        nodes.append(
            Node(
                key=release.id,
                column=3,
                kind="release",
                name=words.said(release.state),
                href=f"/releases/{release.id}",
                color=f"state-{words.tone(release.state)}",
            )
        )
        edges.append((me, release.id))
    return lineage(nodes, edges, title=f"Where {found.model} {me} comes from", width=width)


def made_of(found: ModelVersion, composed: Composed, width: float) -> str:
    """Return the way that rows take through a graph, with the version of each model."""
    nodes, parts = composed.graph.nodes, {part.node: part for part in found.parts}
    way = flows.flow(composed.graph)
    boxes = []
    for box in way.boxes:
        part, kind = parts.get(box.node), rules.kind_of(nodes[box.node])
        known = part is not None and part.model
        boxes.append(
            Node(
                key=str(box.key),
                column=box.column,
                kind=f"{kind} {box.node}",
                name=part.version if part is not None else _how(nodes[box.node]),
                href=f"/models/{quote(part.model)}/{part.number}" if part and known else "",
                color=of_version(part.number) if part and known else "muted",
            )
        )
    arrows = [(str(one), str(other)) for one, other in way.arrows]
    return lineage(boxes, arrows, title=f"The nodes of {found.model} v{found.number}", width=width)


def _how(node: object) -> str:
    if isinstance(node, Switch):
        return f"by {node.column}"
    return f"{node.by} of {len(node.members)}" if isinstance(node, Ensemble) else ""


def _causes(found: ModelVersion, run: Run | None) -> tuple[list[Node], list[tuple[str, str]]]:
    if not found.run_id:
        made = [Node(key="source", column=1, kind="files", name=found.source)]
        return (made if found.source else []), []
    nodes = [
        Node(
            key=f"d{name}",
            column=0,
            kind="dataset",
            name=f"{name} {number}",
            href=f"/data/{name}/{number}",
        )
        for name, number in found.datasets.items()
    ]
    if run is not None and not nodes:
        nodes = [
            Node(key=f"r{i}", column=0, kind="dataset", name=each.name)
            for i, each in enumerate(run.datasets[:_DATASETS])
        ]
    edges = [(node.key, "run") for node in nodes]
    name = words.run_title(run) if run is not None else words.short(found.run_id)
    href = f"/runs/{found.run_id}" if run is not None else ""
    nodes.append(Node(key="run", column=1, kind="run", name=name, href=href))
    return nodes, edges
