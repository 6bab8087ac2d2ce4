"""Counters and histograms in memory, told in Prometheus' text format."""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

#: Upper bounds of the latency buckets, in microseconds; one more is without bound.
BUCKETS = (
    *(100, 250, 500, 1_000, 2_500, 5_000, 10_000),
    *(25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000),
)

OK = 200

Labels = tuple[str, ...]


class Counted(NamedTuple):
    """What one version answered, in any part of a release."""

    answered: int  #: requests, or parts of them
    failed: int
    rows: int
    micros: int  #: that all of them took
    last_us: int  #: when the last one came, microseconds since 1970; 0: none has


class Metrics:
    """What happened in this process since it started. One thread adds, any reads."""

    def __init__(self) -> None:
        #: requests by (model, version, role, status)
        self.requests: dict[tuple[str, int, str, int], int] = {}
        #: rows by (model, version, role)
        self.rows: dict[tuple[str, int, str], int] = {}
        #: microseconds that a version took in all, and when it was last asked
        self._spent: dict[tuple[str, int], list[int]] = {}
        #: calls of slow models by (model, requests in them, rounded up to a power of two)
        self.batches: dict[tuple[str, int], int] = {}
        self._latency: dict[str, list[int]] = {}
        self._latency_sum: dict[str, int] = {}
        self.swaps: dict[str, int] = {}
        self.load_failures: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.shadows: dict[str, int] = {}
        self.shadows_dropped = 0
        self.fallbacks: dict[str, int] = {}
        #: requests for explanations by (model, version, status), and rows explained
        self.explanations: dict[tuple[str, int, int], int] = {}
        self.explained_rows: dict[tuple[str, int], int] = {}

    def answered(
        self, model: str, version: int, role: str, status: int, rows: int, micros: int, at_us: int
    ) -> None:
        """Count one arm's part of a request."""
        spent = self._spent.get((model, version))
        if spent is None:
            spent = self._spent[model, version] = [0, 0]
        spent[0] += micros
        spent[1] = at_us
        key = (model, version, role, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        served = key[:3]
        self.rows[served] = self.rows.get(served, 0) + rows
        buckets = self._latency.get(model)
        if buckets is None:
            buckets = self._latency[model] = [0] * (len(BUCKETS) + 1)
            self._latency_sum[model] = 0
        buckets[bisect_left(BUCKETS, micros)] += 1
        self._latency_sum[model] += micros

    def batched(self, model: str, requests: int) -> None:
        """Count a call of a slow model, by how many requests shared it."""
        key = model, 1 << (requests - 1).bit_length()
        self.batches[key] = self.batches.get(key, 0) + 1

    def explained(self, model: str, version: int, status: int, rows: int) -> None:
        """Count a request for explanations, which is none for predictions."""
        key = model, version, status
        self.explanations[key] = self.explanations.get(key, 0) + 1
        self.explained_rows[key[:2]] = self.explained_rows.get(key[:2], 0) + rows

    def swapped(self, model: str) -> None:
        self.swaps[model] = self.swaps.get(model, 0) + 1

    def failed_to_load(self, model: str) -> None:
        self.load_failures[model] = self.load_failures.get(model, 0) + 1

    def labelled(self, model: str, count: int) -> None:
        self.labels[model] = self.labels.get(model, 0) + count

    def fell_back(self, model: str, rows: int) -> None:
        self.fallbacks[model] = self.fallbacks.get(model, 0) + rows

    def shadowed(self, model: str, rows: int) -> None:
        self.shadows[model] = self.shadows.get(model, 0) + rows

    def of_version(self, model: str, version: int) -> Counted:
        """Return what one version answered since the server started."""
        micros, last_us = self._spent.get((model, version), (0, 0))
        mine = [(key, n) for key, n in list(self.requests.items()) if key[:2] == (model, version)]
        return Counted(
            answered=sum(count for key, count in mine if key[3] == OK),
            failed=sum(count for key, count in mine if key[3] != OK),
            rows=sum(n for key, n in list(self.rows.items()) if key[:2] == (model, version)),
            micros=micros,
            last_us=last_us,
        )

    def text(self, *, log_bytes: int, generations: dict[str, int]) -> str:
        """Return everything as Prometheus reads it."""
        lines: list[str] = []
        _family(lines, "requests_total", "counter", "Requests, by the arm they were routed to",
                ("model", "version", "role", "status"), self.requests.items())  # fmt: skip
        _family(lines, "rows_total", "counter", "Rows of those requests",
                ("model", "version", "role"), self.rows.items())  # fmt: skip
        _family(lines, "batches_total", "counter", "Calls of slow models, by requests in them, up "
                "to a power of two", ("model", "requests"), self.batches.items())  # fmt: skip
        _family(lines, "explanations_total", "counter", "Requests for explanations",
                ("model", "version", "status"), self.explanations.items())  # fmt: skip
        _family(lines, "explained_rows_total", "counter", "Rows explained",
                ("model", "version"), self.explained_rows.items())  # fmt: skip
        self._histogram(lines)
        for name, kind, help_text, values in (
            ("labels_total", "counter", "Labels accepted", self.labels),
            ("shadow_rows_total", "counter", "Rows scored by the other arm", self.shadows),
            ("fallback_rows_total", "counter", "Rows a baseline answered", self.fallbacks),
            ("model_swaps_total", "counter", "Changes of what an endpoint serves", self.swaps),
            ("model_load_failures_total", "counter", "Loads that failed", self.load_failures),
            ("generation", "gauge", "Generation served now", generations),
        ):  # fmt: skip
            _family(
                lines, name, kind, help_text, ("model",), (((m,), v) for m, v in values.items())
            )
        _family(lines, "shadow_dropped_total", "counter", "Requests not scored by the other arm: "
                "too many were waiting", (), [((), self.shadows_dropped)])  # fmt: skip
        _family(lines, "log_bytes_total", "counter", "Bytes appended to the prediction log",
                (), [((), log_bytes)])  # fmt: skip
        return "\n".join(lines) + "\n"

    def _histogram(self, lines: list[str]) -> None:
        name = "setpoint_request_seconds"
        lines.append(f"# HELP {name} Time in the server until the answer was logged")
        lines.append(f"# TYPE {name} histogram")
        for model, counts in list(self._latency.items()):
            total = 0
            for bound, count in zip((*BUCKETS, None), counts, strict=True):
                total += count
                le = "+Inf" if bound is None else f"{bound / 1e6:g}"
                lines.append(f'{name}_bucket{{model="{_escape(model)}",le="{le}"}} {total}')
            lines.append(f'{name}_sum{{model="{_escape(model)}"}} {self._latency_sum[model] / 1e6}')
            lines.append(f'{name}_count{{model="{_escape(model)}"}} {total}')


def _family(
    lines: list[str],
    name: str,
    kind: str,
    help_text: str,
    labels: Labels,
    values: Iterable[tuple[tuple[object, ...], int]],
) -> None:
    full = f"setpoint_{name}"
    lines.append(f"# HELP {full} {help_text}")
    lines.append(f"# TYPE {full} {kind}")
    for key, value in list(values):
        pairs = ",".join(
            f'{label}="{_escape(str(part))}"' for label, part in zip(labels, key, strict=True)
        )
        lines.append(f"{full}{{{pairs}}} {value}" if pairs else f"{full} {value}")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
