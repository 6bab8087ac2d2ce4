"""What a graph is: nodes by name, each a model, a function, or a way to put others together."""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from setpoint.models.entities import Part

FLAVOR = "graph"  #: of versions that are graphs
NODES = "nodes"  #: the output that tells which nodes answered a row, as JSON: name to version


class Combine(StrEnum):
    """How an ensemble makes one answer of several."""

    MEAN = "mean"
    MEDIAN = "median"
    MIN = "min"
    MAX = "max"
    VOTE = "vote"  #: the share of members that would say yes, or of each class


class Model(Struct, frozen=True, kw_only=True, tag="model"):
    """A version of a model, asked for the columns that it takes."""

    model: str
    which: str = "@live"  #: the version: ``@alias``, followed as it moves, or ``:number``


class Transform(Struct, frozen=True, kw_only=True, tag="transform"):
    """A function of the project: columns in, columns out, a row for a row."""

    code: str  #: ``module:name``
    takes: dict[str, str] = {}  #: columns it is given, with their datatypes: FP64 or BYTES
    gives: dict[str, str] = {}  #: columns it returns, likewise


class Chain(Struct, frozen=True, kw_only=True, tag="chain"):
    """Nodes one after another: each sees what those before it gave, the last one answers."""

    steps: list[str]


class Ensemble(Struct, frozen=True, kw_only=True, tag="ensemble"):
    """Nodes that all answer, and what is made of their answers."""

    members: list[str]
    by: Combine = Combine.MEAN
    weights: list[float] = []  #: a member each, of mean and vote; none: all the same


class Switch(Struct, frozen=True, kw_only=True, tag="switch"):
    """Nodes of which one answers a row: the one that the value of a column names."""

    column: str
    cases: dict[str, str]  #: node by value; a number is written as short as it can be
    default: str  #: answers all other values, and missing ones


Node: TypeAlias = Model | Transform | Chain | Ensemble | Switch


class Graph(Struct, frozen=True, kw_only=True):
    """Nodes by name, and which of them answers."""

    nodes: dict[str, Node]
    answer: str


class Composed(Struct, frozen=True, kw_only=True):
    """A graph with what its nodes are: all that it takes to answer, by address."""

    graph: Graph
    parts: list[Part]  #: of its models and transforms, by the names of their nodes
