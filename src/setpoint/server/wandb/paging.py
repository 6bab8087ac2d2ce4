"""Pages of nodes, as GraphQL's connections have them."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from setpoint.errors import Invalid

_PAGE = 50  #: nodes, where the client names no number
_MOST = 1_000  #: nodes of one page


class Edge(Struct, frozen=True):
    node: Any
    cursor: str = ""
    version: str | None = None


class PageInfo(Struct, frozen=True):
    end_cursor: str | None = None
    has_next_page: bool = False


class Connection(Struct, frozen=True):
    """A page of nodes."""

    edges: list[Edge]
    page_info: PageInfo = PageInfo()
    total_count: int = 0


def everything(nodes: Sequence[Any]) -> Connection:
    """Return all nodes as one page."""
    return Connection([Edge(node) for node in nodes], total_count=len(nodes))


def cut(nodes: Sequence[Any], after: str | None, first: int | None) -> Connection:
    """Return a page of nodes that are all at hand; a cursor is the number before the next."""
    start = position(after)
    stop = start + size(first)
    edges = [Edge(node, str(start + i + 1)) for i, node in enumerate(nodes[start:stop])]
    end = edges[-1].cursor if edges else None
    return Connection(edges, PageInfo(end, stop < len(nodes)), len(nodes))


def position(cursor: str | None) -> int:
    """Return how many nodes lie before the next page."""
    if not cursor:
        return 0
    if not cursor.isdecimal():
        raise Invalid(f"{cursor!r} is no cursor", hint="pass the one of the page before")
    return int(cursor)


def size(first: int | None) -> int:
    """Return how many nodes a page has."""
    return max(1, min(first or _PAGE, _MOST))
