"""Columns of categories, as libraries of boosted trees take them: by the number of each category.

Training numbers them in an order that the model's file keeps. Whatever it has not seen is missing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from setpoint.errors import Invalid
from setpoint.models.entities import Label, Signature
from setpoint.models.protocols import Floats, Rows
from setpoint.models.rows import by_name, matrix, number

#: What each column tells apart, in the order of its numbers; columns of numbers have none.
Categories = Mapping[str, Sequence[Label]]


def numbering(known: Categories, signature: Signature) -> Callable[[Rows, Signature], Floats]:
    """Return what makes a matrix of rows, with categories as their numbers.

    Raises:
        Invalid: If an input of texts is no column of categories.
    """
    texts = [each.name for each in signature.inputs if not each.numeric]
    if strange := [name for name in texts if name not in known]:
        raise Invalid(
            f"the model knows no categories of {', '.join(map(repr, strange))}",
            hint="a column of texts must have been one of categories when the model was trained",
        )
    if not known:
        return matrix
    numbers = {name: {label: float(at) for at, label in enumerate(known[name])} for name in known}

    def numbered(rows: Rows, signature: Signature) -> Floats:
        held = by_name(rows, signature)
        return np.column_stack(
            [
                _numbers(held[each.name], numbers[each.name])
                if each.name in numbers
                else number(held[each.name], each)
                for each in signature.inputs
            ]
        )

    return numbered


def _numbers(values: Any, numbers: Mapping[Label, float]) -> Floats:
    return np.array([numbers.get(each, np.nan) for each in np.asarray(values).tolist()])
