"""The card of a version: what a person must know to trust it, written from the record.

Nothing is asked of anyone twice: the makers' own words (`ModelVersion.card`: purpose, limits)
come first, the rest is read off the version. What was not recorded is said to be missing.
"""

from collections.abc import Iterable, Mapping

from setpoint.models.entities import Check, ModelVersion, Parity

_SHOWN = 60  #: inputs listed; more are counted


def render(version: ModelVersion, aliases: Mapping[str, int] | None = None) -> str:
    """Return the card as Markdown.

    Args:
        version: What it is about.
        aliases: All aliases of the model, to say which name this version.
    """
    sections = [
        _head(version, aliases or {}),
        version.card.strip(),
        "## Quality on held-out rows\n\n" + _metrics(version.metrics),
        "## Gate\n\n" + _gate(version),
        "## Inputs and output\n\n" + _signature(version),
        "## Made from\n\n" + _origin(version),
        "## How it is served\n\n" + _serving(version),
    ]
    return "\n\n".join(each for each in sections if each) + "\n"


def _head(version: ModelVersion, aliases: Mapping[str, int]) -> str:
    names = sorted(name for name, number in aliases.items() if number == version.number)
    known = f" · {', '.join(f'`{name}`' for name in names)}" if names else ""
    born = version.created_at.strftime("%-d %B %Y, %H:%M UTC")
    return f"# {version.model}, version {version.number}{known}\n\nBorn {born}: {version.why}."


def _metrics(metrics: Mapping[str, float]) -> str:
    rows = [(name, _number(value)) for name, value in sorted(metrics.items())]
    return _table(("metric", "value"), rows) if rows else "Not recorded."


def _gate(version: ModelVersion) -> str:
    gate = version.gate
    if gate is None:
        said = "It was never gated, so it may not serve."
    else:
        verdict = "Passed." if gate.passed else f"Failed {len(gate.failing)} checks."
        head = ("check", "passed", "value", "interval", "bound", "detail")
        said = verdict + "\n\n" + _table(head, [_check(each) for each in gate.checks])
    if version.override is not None:
        by, at = version.override.actor, version.override.at.strftime("%-d %B %Y, %H:%M UTC")
        said += f"\n\n**Overridden** by {by} on {at}: {version.override.reason}"
    return said


def _check(check: Check) -> tuple[str, ...]:
    interval = ""
    if check.low is not None and check.high is not None:
        interval = f"{_number(check.low)} … {_number(check.high)}"
    return (
        check.name,
        "yes" if check.passed else "**no**",
        _number(check.value),
        interval,
        _number(check.bound),
        check.detail,
    )


def _signature(version: ModelVersion) -> str:
    signature = version.signature
    inputs = [(each.name, each.datatype) for each in signature.inputs[:_SHOWN]]
    more = len(signature.inputs) - len(inputs)
    classifies = signature.kind == "classification"
    out = "the probability of the positive class" if classifies else "the predicted value"
    lines = [_table(("input", "type"), inputs)]
    if more:
        lines.append(f"and {more} more inputs.")
    takes = "takes missing values" if signature.missing else "does not take missing values"
    lines.append(f"One number a row comes out: {out}. It {takes}.")
    return "\n\n".join(lines)


def _origin(version: ModelVersion) -> str:
    datasets = [f"`{name}` version {number}" for name, number in version.datasets.items()]
    facts = [
        ("run", f"`{version.run_id}`"),
        ("datasets", ", ".join(datasets) or "not recorded"),
        ("training rows", f"`{version.rows}`" if version.rows else "not recorded"),
        ("spec", f"`{version.spec}`" if version.spec else "not recorded"),
    ]
    return _table(("what", "which"), facts)


def _serving(version: ModelVersion) -> str:
    form = "compiled (ONNX)" if version.onnx else f"native ({version.flavor})"
    fallback = version.baseline is not None
    facts = [
        ("form", form),
        ("size", f"{version.size:,} bytes"),
        ("parity", _parity(version.parity)),
        ("when it cannot answer", "the baseline answers" if fallback else "no fallback"),
    ]
    return _table(("what", "which"), facts)


def _parity(parity: Parity | None) -> str:
    if parity is None:
        return "not recorded"
    if not parity.held:
        return f"not compiled: {parity.why}"
    return (
        f"held on {parity.rows:,} rows, {parity.flips} decisions differ, "
        f"outputs by {_number(parity.max_difference)} at most"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
