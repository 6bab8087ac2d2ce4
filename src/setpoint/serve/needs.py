"""What no row of a request may lack, as the data contract of its model's project says.

A model may take a missing value and answer it well enough; whether there may be one is not the
model's to say.
"""

from collections.abc import Sequence

import numpy as np

from setpoint.errors import Invalid
from setpoint.serve.v2 import Inputs, Rows


class Needs:
    """Inputs that are never missing, for an endpoint that has some."""

    def __init__(self, inputs: Inputs, required: Sequence[str]) -> None:
        self._numbers = [at for at, name in enumerate(inputs.numeric) if name in required]
        self._names = [inputs.numeric[at] for at in self._numbers]
        self._texts = [one.name for one in inputs.specs if one.text and one.name in required]

    def check(self, rows: Rows) -> None:
        """Refuse rows that lack what they need.

        Raises:
            Invalid: If one does; says which, and what.
        """
        gaps = np.isnan(rows.values[:, self._numbers])
        if gaps.any():
            row, column = np.argwhere(gaps)[0].tolist()
            raise _lacking(row, self._names[column])
        for name in self._texts:
            if None in rows.texts[name]:
                raise _lacking(rows.texts[name].index(None), name)


def needs(inputs: Inputs, required: Sequence[str]) -> Needs | None:
    """Return what rows need of these inputs; None: nothing."""
    return Needs(inputs, required) if inputs.names.intersection(required) else None


def _lacking(row: int, name: str) -> Invalid:
    return Invalid(
        f"row {row} has no {name!r}, which the data contract requires",
        hint="send a value in every row",
    )
