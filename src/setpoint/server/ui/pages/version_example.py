"""A request that a version answers, made of what its training rows usually held."""

import json
from typing import Any

import numpy as np

from setpoint.models.entities import Input, ModelVersion
from setpoint.profiles.columns import Column
from setpoint.profiles.reference import Reference


def request(version: ModelVersion, reference: Reference | None) -> str:
    """Return the body of a request with one row, as JSON; empty where no input is known.

    A number is the mean of the bin that most training rows were in, a text their most frequent
    one: each is usual by itself, together they need not occur.
    """
    if reference is None or not version.signature.inputs:
        return ""
    known = {column.name: column for column in reference.columns}
    values = {each.name: _usual(each, known.get(each.name)) for each in version.signature.inputs}
    if None in values.values():
        return ""
    inputs = [
        {"name": each.name, "shape": [1], "datatype": each.datatype, "data": [values[each.name]]}
        for each in version.signature.inputs
    ]
    lines = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in inputs)
    return f'{{"inputs": [\n  {lines}\n]}}'


def _usual(of: Input, column: Column | None) -> Any:
    if column is None or column.numeric != of.numeric:
        return None
    if not column.numeric:
        return column.categories[0] if column.categories else None
    finite = column.counts[1 : 1 + len(column.means)]
    if not finite.any():
        return None
    mean = float(column.means[int(np.argmax(finite))])
    if of.datatype == "BOOL":
        return mean >= 0.5
    return round(mean) if of.datatype == "INT64" else float(f"{mean:.6g}")
