"""What follows from what a spec leaves out of the prediction log, in words. Pure."""

from collections.abc import Collection, Iterator

from setpoint.control.spec.entities import Spec
from setpoint.control.spec.units import format_percent
from setpoint.releases.readings import in_words


def consequences(
    spec: Spec, personal: Collection[str] = (), inputs: Collection[str] = ()
) -> list[str]:
    """Return what is given up, one sentence each; nothing where everything is logged.

    Args:
        spec: The one that says what is logged.
        personal: Columns that its data contract marks as personal.
        inputs: What the live version takes, to find names that are none of them; empty: not
            known.
    """
    return [*_sampled(spec), *_redacted(spec, personal, inputs)]


def _sampled(spec: Spec) -> Iterator[str]:
    share = spec.serve.log.sample
    if share >= 1:
        return
    yield (
        f"{format_percent(share)} of predictions are kept, chosen by their ids, and all that "
        "fail; the others cannot be traced, and their labels are ignored"
    )
    yield (
        "errors, latency and the rows of a release are counted on all requests; drift, losses "
        f"and quality are judged on the sample, which takes {1 / share:.3g} times as long"
    )


def _redacted(spec: Spec, personal: Collection[str], inputs: Collection[str]) -> Iterator[str]:
    declared = spec.serve.log.redact
    names = sorted({*declared, *personal})
    if inputs:
        unknown = [name for name in declared if name not in inputs]
        if unknown:
            yield f"redact names what the live version does not take: {', '.join(unknown)}"
        names = [name for name in names if name in inputs]
    if names:
        yield (
            f"no value of {', '.join(names)} is written down from now on, and neither drift nor "
            "data quality of it is watched; what was logged before stays until it expires "
            f"(serve.log.keep: {in_words(spec.serve.log.keep)})"
        )
