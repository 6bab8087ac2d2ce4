"""The space that a sweep searches: its parameters, and what the unit interval means for each.

Every distribution is the image of a uniform number, so random search, a model of the space and
a grid all speak of points in the unit cube.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from setpoint.errors import Invalid

Point = tuple[float, ...]  #: a number in [0, 1) for each parameter that is searched


class Parameter(Struct, frozen=True, kw_only=True):
    """One parameter."""

    path: tuple[str, ...]  #: names from the outside in: parameters may be nested
    distribution: str
    values: tuple[Any, ...] = ()  #: of a categorical or constant one
    weights: tuple[float, ...] = ()  #: of the values; empty: all alike
    low: float = 0.0
    high: float = 1.0
    mu: float = 0.0
    sigma: float = 1.0
    a: float = 1.0
    b: float = 1.0
    q: float = 1.0  #: of a quantized one: the step between values

    def at(self, u: float) -> Any:
        """Return the value that a number in [0, 1) stands for."""
        return _DISTRIBUTIONS[self.distribution](self, u)

    @property
    def choices(self) -> list[Any] | None:
        """All values, where they can be counted."""
        if self.values:
            return list(self.values)
        if self.distribution == "int_uniform":
            return list(range(int(self.low), int(self.high) + 1))
        if self.distribution == "q_uniform":
            count = math.floor((self.high - self.low) / self.q + 1e-9) + 1
            return [_clean(self.low + i * self.q) for i in range(count)]
        return None


def parameters(config: Mapping[str, Any]) -> list[Parameter]:
    """Read the parameters of a sweep's config, in their order.

    Raises:
        Invalid: If one cannot be understood; the message names it.
    """
    found = config.get("parameters")
    if not isinstance(found, Mapping) or not found:
        raise Invalid("a sweep needs parameters", hint='e.g. "lr": {"min": 0.001, "max": 0.1}')
    return list(_parameters((), found))


def _parameters(path: tuple[str, ...], found: Mapping[str, Any]) -> Iterator[Parameter]:
    for name, told in found.items():
        if not isinstance(told, Mapping):
            raise _wrong((*path, name), "is described by an object: value, values, or min and max")
        nested = told.get("parameters")
        if isinstance(nested, Mapping):
            yield from _parameters((*path, name), nested)
        else:
            yield _parameter((*path, name), told)


def _parameter(path: tuple[str, ...], told: Mapping[str, Any]) -> Parameter:
    if "value" in told:
        return Parameter(path=path, distribution="constant", values=(told["value"],))
    if "values" in told:
        return _categorical(path, told)
    name = told.get("distribution") or _uniform(told)
    if name not in _DISTRIBUTIONS:
        raise _wrong(path, f"has no distribution {name!r}", ", ".join(_DISTRIBUTIONS))
    fields = {"low": told.get("min"), "high": told.get("max")}
    fields |= {key: told.get(key) for key in ("mu", "sigma", "a", "b", "q")}
    numbers: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise _wrong(path, f"has {value!r} where a number is needed")
        if value is not None:
            numbers[key] = float(value)
    made = Parameter(path=path, distribution=name, **numbers)
    _check(made, numbers)
    return made


def _check(made: Parameter, numbers: Mapping[str, float]) -> None:
    bounded = made.distribution in _BOUNDED
    if bounded and not {"low", "high"} <= set(numbers):
        raise _wrong(made.path, "needs min and max")
    if bounded and made.low > made.high:
        raise _wrong(made.path, "has a min above its max")
    if "log_uniform_values" in made.distribution and made.low <= 0:
        raise _wrong(made.path, "needs a min above 0, as its logarithm is spread evenly")
    if made.q <= 0 or made.sigma < 0:
        raise _wrong(made.path, "needs a q above 0 and a sigma of 0 or more")


def _categorical(path: tuple[str, ...], told: Mapping[str, Any]) -> Parameter:
    values, weights = told["values"], told.get("probabilities") or ()
    if not isinstance(values, list) or not values:
        raise _wrong(path, "needs a list of values that is not empty")
    if weights and (len(weights) != len(values) or not math.isclose(sum(weights), 1, abs_tol=1e-6)):
        raise _wrong(path, "needs one probability for each value, summing to 1")
    return Parameter(
        path=path, distribution="categorical", values=tuple(values), weights=tuple(weights)
    )


def _uniform(told: Mapping[str, Any]) -> str:
    whole = all(isinstance(told.get(key), int) for key in ("min", "max"))
    return "int_uniform" if whole else "uniform"


def _wrong(path: tuple[str, ...], what: str, hint: str = "") -> Invalid:
    return Invalid(f"parameter {'.'.join(path)} {what}", hint=hint)


# Values


def at(space: list[Parameter], point: Point) -> dict[str, Any]:
    """Return the arguments that a point of the unit cube stands for."""
    searched = iter(point)
    values = [p.values[0] if p.distribution == "constant" else p.at(next(searched)) for p in space]
    return _nested(space, values)


def dimensions(space: list[Parameter]) -> int:
    """Return how many parameters are searched."""
    return sum(p.distribution != "constant" for p in space)


def grid(space: list[Parameter]) -> Iterator[dict[str, Any]]:
    """Yield all combinations; the last parameter changes fastest.

    Raises:
        Invalid: If a parameter has more values than can be counted.
    """
    for values in itertools.product(*_choices(space)):
        yield _nested(space, list(values))


def grid_size(space: list[Parameter]) -> int:
    """Return how many combinations there are."""
    return math.prod(len(choices) for choices in _choices(space))


def nth(space: list[Parameter], number: int) -> dict[str, Any]:
    """Return a combination of the grid by its number."""
    values = []
    for choices in reversed(_choices(space)):
        number, index = divmod(number, len(choices))
        values.append(choices[index])
    return _nested(space, values[::-1])


def _choices(space: list[Parameter]) -> list[list[Any]]:
    found = []
    for parameter in space:
        choices = parameter.choices
        if choices is None:
            raise _wrong(
                parameter.path, "has no values to count, so no grid", "give values, or a q"
            )
        found.append(choices)
    return found


def _nested(space: list[Parameter], values: list[Any]) -> dict[str, Any]:
    args: dict[str, Any] = {}
    for parameter, value in zip(space, values, strict=True):
        place = args
        for name in parameter.path[:-1]:
            place = place.setdefault(name, {})
        place[parameter.path[-1]] = value
    return args


# Distributions


def _chosen(p: Parameter, u: float) -> Any:
    if not p.weights:
        return p.values[min(int(u * len(p.values)), len(p.values) - 1)]
    index = int(np.searchsorted(np.cumsum(p.weights), u, side="right"))
    return p.values[min(index, len(p.values) - 1)]


def _between(p: Parameter, u: float) -> float:
    return p.low + u * (p.high - p.low)


def _whole(p: Parameter, u: float) -> int:
    return min(int(p.low + u * (p.high - p.low + 1)), int(p.high))


def _exp(p: Parameter, u: float) -> float:
    return math.exp(_between(p, u))


def _log_values(p: Parameter, u: float) -> float:
    low, high = math.log(p.low), math.log(p.high)
    return min(max(math.exp(low + u * (high - low)), p.low), p.high)


def _inverse_values(p: Parameter, u: float) -> float:
    return p.low + p.high - _log_values(p, u)


def _normal(p: Parameter, u: float) -> float:
    from scipy.special import ndtri  # noqa: PLC0415 - a server starts without it

    return float(p.mu + p.sigma * ndtri(min(max(u, 1e-12), 1 - 1e-12)))


def _beta(p: Parameter, u: float) -> float:
    from scipy.special import betaincinv  # noqa: PLC0415

    return float(betaincinv(p.a, p.b, u))


def _quantized(of: Callable[[Parameter, float], float]) -> Callable[[Parameter, float], Any]:
    return lambda p, u: _clean(round(of(p, u) / p.q) * p.q)


def _clean(value: float) -> float:
    """Return a multiple of a step without the dust of its binary form; whole numbers as such."""
    tidy = float(f"{value:.12g}")
    return int(tidy) if tidy.is_integer() else tidy


_DISTRIBUTIONS: dict[str, Callable[[Parameter, float], Any]] = {
    "constant": lambda p, _: p.values[0],
    "categorical": _chosen,
    "categorical_w_probabilities": _chosen,
    "uniform": _between,
    "int_uniform": _whole,
    "q_uniform": _quantized(_between),
    "log_uniform": _exp,
    "log_uniform_values": _log_values,
    "q_log_uniform": _quantized(_exp),
    "q_log_uniform_values": _quantized(_log_values),
    "inv_log_uniform": lambda p, u: 1 / math.exp(_between(p, u)),
    "inv_log_uniform_values": _inverse_values,
    "normal": _normal,
    "q_normal": _quantized(_normal),
    "log_normal": lambda p, u: math.exp(_normal(p, u)),
    "q_log_normal": _quantized(lambda p, u: math.exp(_normal(p, u))),
    "beta": _beta,
    "q_beta": _quantized(_beta),
}

_BOUNDED = {name for name in _DISTRIBUTIONS if "uniform" in name}
