"""SciPy's special functions, loaded with the first use: importing them takes half a second.

What only reads evidence (pages, commands) must not pay for functions it never calls.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    import scipy.special  # noqa: PLC0415 - the point is to import late

    found = getattr(scipy.special, name)
    globals()[name] = found
    return found
