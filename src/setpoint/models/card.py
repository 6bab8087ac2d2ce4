"""The card of a version: what a person must know to trust it, written from the record.

Nothing is asked of anyone twice: the makers' own words (`ModelVersion.card`: purpose, limits)
come first, the rest is read off the version. What was not recorded is said to be missing.
"""

from collections.abc import Iterable, Mapping, Sequence

from setpoint.models.entities import Check, Input, ModelVersion, Output, Parity
from setpoint.models.registry.entities import Entry
from setpoint.models.review.entities import Approval

_SHOWN = 60  #: inputs listed; more are counted
_LONG = 200  #: characters of a tag's value


def render(
    entry: Entry, aliases: Mapping[str, int] | None = None, approvals: Sequence[Approval] = ()
) -> str:
    """Return the card as Markdown.

    Args:
        entry: What it is about.
        aliases: All aliases of the model, to say which name this version.
        approvals: The decisions about it, the newest first.
    """
    version = entry.version
    sections = [
        _head(version, aliases or {}),
        version.description.strip(),
        version.card.strip(),
        "## Quality on held-out rows\n\n" + _metrics(version.metrics),
        "## Gate\n\n" + _gate(version),
        "## Approvals\n\n" + _approvals(approvals) if approvals else "",
        "## Inputs and output\n\n" + _signature(version),
        "## Made from\n\n" + _origin(version),
        "## How it is served\n\n" + _serving(version),
        "## Tags\n\n" + _tags(entry.tags) if entry.tags else "",
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


def _approvals(approvals: Sequence[Approval]) -> str:
    rows = [
        (
            each.role,
            "approved" if each.approved else "**rejected**",
            each.actor,
            each.at.strftime("%-d %B %Y, %H:%M UTC"),
            each.reason,
        )
        for each in approvals
    ]
    return _table(("role", "decision", "by", "on", "reason"), rows)


def _signature(version: ModelVersion) -> str:
    signature = version.signature
    if not signature.inputs:
        return "Not recorded."
    inputs = [(each.name, _kind(each)) for each in signature.inputs[:_SHOWN]]
    more = len(signature.inputs) - len(inputs)
    classifies = signature.kind == "classification"
    out = "the probability of the positive class" if classifies else "the predicted value"
    lines = [_table(("input", "type"), inputs)]
    if more:
        lines.append(f"and {more} more inputs.")
    takes = "takes missing values" if signature.missing else "does not take missing values"
    if signature.outputs:
        told = [(each.name, _kind(each)) for each in signature.outputs]
        lines.append(_table(("output", "type"), told))
        lines.append(f"It {takes}.")
    else:
        lines.append(f"One number a row comes out: {out}. It {takes}.")
    if signature.classes:
        lines.append(f"Classes: {', '.join(map(str, signature.classes[:_SHOWN]))}.")
    return "\n\n".join(lines)


def _kind(of: Input | Output) -> str:
    return f"{of.datatype} {of.shape}" if of.shape else of.datatype


def _origin(version: ModelVersion) -> str:
    datasets = [f"`{name}` version {number}" for name, number in version.datasets.items()]
    facts = [
        ("run", f"`{version.run_id}`" if version.run_id else "not recorded"),
        ("datasets", ", ".join(datasets) or "not recorded"),
        ("training rows", f"`{version.rows}`" if version.rows else "not recorded"),
        ("spec", f"`{version.spec}`" if version.spec else "not recorded"),
    ]
    if version.source:
        facts.append(("files", f"`{version.source}`"))
    return _table(("what", "which"), facts)


def _serving(version: ModelVersion) -> str:
    signed = version.signed
    by = "not signed"
    if signed is not None:
        by = f"by {signed.actor}, key `{signed.key[:16]}…`"
    if not version.trained_here:
        return _table(("what", "which"), [("form", "registered from elsewhere"), ("signed", by)])
    form = "compiled (ONNX)" if version.onnx else f"native ({version.flavor})"
    fallback = version.baseline is not None
    facts = [
        ("form", form),
        ("size", f"{version.size:,} bytes"),
        ("parity", parity(version.parity)),
        ("when it cannot answer", "the baseline answers" if fallback else "no fallback"),
        ("signed", by),
    ]
    return _table(("what", "which"), facts)


def _tags(tags: Mapping[str, str]) -> str:
    return _table(("tag", "value"), [(key, value[:_LONG]) for key, value in sorted(tags.items())])


def parity(found: Parity | None) -> str:
    """Return in a line how the compiled form of a version compares, or why it has none."""
    if found is None:
        return "not recorded"
    if not found.held:
        return f"not compiled: {found.why}"
    return (
        f"held on {found.rows:,} rows, {found.flips} decisions differ, "
        f"outputs by {_number(found.max_difference)} at most"
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
