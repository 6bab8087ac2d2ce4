"""Triton's classification of outputs: the greatest values of a row, each with its place and name.

Source: the classification extension of the Open Inference Protocol, as Triton documents it
(``classification`` among the parameters of an output, ``class_count`` in its clients).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setpoint.errors import Invalid
from setpoint.serve.outputs import PROBABILITIES, OutputSpec, Told
from setpoint.serve.v2 import OutputAsked


def ranked(told: list[Told], asked: Sequence[OutputAsked], classes: Sequence[Any]) -> list[Told]:
    """Return outputs with those that are asked for by their classes as texts ``value:place:name``.

    Args:
        told: The outputs that are answered.
        asked: What was asked of them.
        classes: Of the model, in the order of its probabilities; other outputs have no names.

    Raises:
        Invalid: If one of them has no numbers.
    """
    counts = {one.name: one.parameters.classification for one in asked if one.parameters}
    if not any(counts.values()):
        return told
    return [
        _ranked(spec, values, counts[spec.name], classes if spec.name == PROBABILITIES else ())
        if counts.get(spec.name)
        else (spec, values)
        for spec, values in told
    ]


def _ranked(spec: OutputSpec, values: NDArray[Any], count: int, names: Sequence[Any]) -> Told:
    if values.dtype == object:
        raise Invalid(
            f"the output {spec.name!r} has no numbers to tell classes by",
            where="$.outputs",
            hint="ask for it as it is",
        )
    width = int(np.prod(values.shape[1:]))
    rows = values.reshape(len(values), width)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    texts = np.empty(best.shape, dtype=object)
    for row, places in enumerate(best.tolist()):
        for rank, place in enumerate(places):
            name = f":{names[place]}" if names else ""
            texts[row, rank] = f"{rows[row, place]:f}:{place}{name}"
    return OutputSpec(spec.name, "BYTES", texts.shape[1:]), texts
