"""The spec in Python: ``sp.Model(…)`` takes the keys of a setpoint file."""

from typing import Any

from setpoint.control.spec.entities import Spec
from setpoint.control.spec.parse import from_document, plain


def Model(**keys: Any) -> Spec:  # noqa: N802 - reads as the thing it builds
    """Build a spec in Python; the arguments are the keys of a setpoint file.

    Groups are dicts or the structs of the spec (`setpoint.control.spec.entities`); a
    function stands for its ``module:name``. Unknown keys and wrong values fail as they
    do in a file.

    Raises:
        SpecInvalid: If it is no valid spec.

    Example:
        >>> spec = Model(
        ...     model="churn",
        ...     data={"source": "data/churn.csv"},
        ...     train={"code": "churn:train"},
        ... )
        >>> spec.data.source
        {'churn': 'data/churn.csv'}
    """
    document = {key: plain(value) for key, value in keys.items() if value is not None}
    return from_document(document, "sp.Model")
