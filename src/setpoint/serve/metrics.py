"""Counters and histograms in memory, told in Prometheus' text format."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct, field
from msgspec.structs import replace

from setpoint.serve.calling import Calls
from setpoint.serve.rules import ROLES

#: Upper bounds of the latency buckets, in microseconds; one more is without bound.
BUCKETS = (
    *(100, 250, 500, 1_000, 2_500, 5_000, 10_000),
    *(25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000),
)

#: Upper bounds of the buckets for sizes of calls; one more is without bound.
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024, 4_096)

OK = 200

#: What is added up key by key.
_ADDED = (
    *("batch_sums", "refused", "swaps", "load_failures", "labels", "shadows", "fallbacks"),
    *("explanations", "explained_rows", "jobs", "loads", "load_micros", "given_up", "memory"),
    *("arms", "errors", "waiting"),
)

Labels = tuple[str, ...]


class Counted(NamedTuple):
    """What one version answered, in any part of a release."""

    answered: int  #: requests, or parts of them
    failed: int
    rows: int  #: answered
    micros: int  #: that those answered took
    failed_micros: int  #: that those took that failed
    last_us: int  #: when the last one came, microseconds since 1970; 0: none has


class Tally(Struct):
    """What one version answered in one part of a release.

    All that a request counts is in one place: where a thousand models are asked in turn, a request
    finds little in the processor's caches, and each place it has to look in costs it.
    """

    answered: int = 0  #: requests, or parts of them
    failed: dict[int, int] = {}  #: likewise, by status
    rows: int = 0
    micros: int = 0  #: that all of them took
    failed_rows: int = 0  #: of those
    failed_micros: int = 0
    last_us: int = 0  #: when the last one came, microseconds since 1970
    #: requests by how long they took, see `BUCKETS`
    latency: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))

    def add(self, other: "Tally") -> None:
        """Add what was answered in another process, or another part of a release."""
        self.answered += other.answered
        for status, count in other.failed.items():
            self.failed[status] = self.failed.get(status, 0) + count
        self.rows += other.rows
        self.micros += other.micros
        self.failed_rows += other.failed_rows
        self.failed_micros += other.failed_micros
        self.last_us = max(self.last_us, other.last_us)
        self.latency = [a + b for a, b in zip(self.latency, other.latency, strict=True)]


class Metrics(Struct):
    """What happened in this process since it started. One thread adds, any reads."""

    #: what was answered, by (model, version, role)
    tallies: dict[tuple[str, int, str], Tally] = {}
    #: calls of slow models by what was counted and model, then by bucket; and their sums
    batches: dict[tuple[str, str], list[int]] = {}
    batch_sums: dict[tuple[str, str], int] = {}
    calls: dict[tuple[str, int], Calls] = {}  #: of slow models, by (model, version)
    refused: dict[tuple[str, str], int] = {}  #: requests by (model, why)
    errors: dict[str, int] = {}  #: answers that were one, by status: of HTTP, or gRPC's name
    swaps: dict[str, int] = {}
    load_failures: dict[str, int] = {}
    loads: dict[str, int] = {}  #: versions that were loaded
    load_micros: dict[str, int] = {}  #: that loading and warming them took
    given_up: dict[str, int] = {}  #: what was in memory and made room, or was unloaded
    memory: dict[tuple[str, int], int] = {}  #: bytes of what is in memory, by (model, version)
    labels: dict[str, int] = {}
    shadows: dict[str, int] = {}
    fallbacks: dict[str, int] = {}
    arms: dict[tuple[str, str, int], int] = {}  #: rows by (model, arm, version)
    not_logged: dict[str, int] = {}  #: rows outside the log's sample
    labels_not_sampled: dict[str, int] = {}
    #: requests for explanations by (model, version, status), and rows explained
    explanations: dict[tuple[str, int, int], int] = {}
    explained_rows: dict[tuple[str, int], int] = {}
    jobs: dict[tuple[str, str], int] = {}  #: that ended, by (model, how)
    waiting: dict[str, int] = {}  #: requests for slow models that are not answered yet
    cpu_seconds: float = 0.0  #: of the process
    resident: int = 0  #: bytes of memory that the process has
    jobs_waiting: int = 0
    jobs_waiting_bytes: int = 0  #: of their requests
    shadows_dropped: int = 0
    log_bytes: int = 0  #: appended to the prediction log, where that was asked for

    def answered(
        self, model: str, version: int, role: str, status: int, rows: int, micros: int, at_us: int
    ) -> None:
        """Count one arm's part of a request."""
        key = model, version, role
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally()
        if status == OK:
            tally.answered += 1
        else:
            tally.failed[status] = tally.failed.get(status, 0) + 1
            tally.failed_rows += rows
            tally.failed_micros += micros
        tally.rows += rows
        tally.micros += micros
        tally.last_us = at_us
        tally.latency[bisect_left(BUCKETS, micros)] += 1

    def errs(self, status: str) -> None:
        """Count an answer that is an error, whatever of."""
        self.errors[status] = self.errors.get(status, 0) + 1

    def batched(self, model: str, requests: int, rows: int) -> None:
        """Count a call of a slow model, by how many requests shared it, and rows."""
        for what, size in (("requests", requests), ("rows", rows)):
            buckets = self.batches.setdefault((what, model), [0] * (len(SIZES) + 1))
            buckets[bisect_left(SIZES, size)] += 1
            self.batch_sums[what, model] = self.batch_sums.get((what, model), 0) + size

    def calls_of(self, model: str, version: int) -> Calls:
        """Return where calls of a slow model's version are counted."""
        return self.calls.setdefault((model, version), Calls())

    def refuse(self, model: str, why: str) -> None:
        """Count a request that was not answered: the queue was full, the client had gone."""
        self.refused[model, why] = self.refused.get((model, why), 0) + 1

    def explained(self, model: str, version: int, status: int, rows: int) -> None:
        """Count a request for explanations, which is none for predictions."""
        key = model, version, status
        self.explanations[key] = self.explanations.get(key, 0) + 1
        self.explained_rows[key[:2]] = self.explained_rows.get(key[:2], 0) + rows

    def swapped(self, model: str) -> None:
        self.swaps[model] = self.swaps.get(model, 0) + 1

    def loaded(self, model: str, micros: int) -> None:
        """Count a version that was loaded and warmed."""
        self.loads[model] = self.loads.get(model, 0) + 1
        self.load_micros[model] = self.load_micros.get(model, 0) + micros

    def gave_up(self, model: str) -> None:
        self.given_up[model] = self.given_up.get(model, 0) + 1

    def failed_to_load(self, model: str) -> None:
        self.load_failures[model] = self.load_failures.get(model, 0) + 1

    def labelled(self, model: str, count: int) -> None:
        self.labels[model] = self.labels.get(model, 0) + count

    def fell_back(self, model: str, rows: int) -> None:
        self.fallbacks[model] = self.fallbacks.get(model, 0) + rows

    def armed(self, model: str, arm: str, version: int, rows: int) -> None:
        """Count rows that fell to an arm of a test, or that a tester had it answer."""
        key = model, arm, version
        self.arms[key] = self.arms.get(key, 0) + rows

    def shadowed(self, model: str, rows: int) -> None:
        self.shadows[model] = self.shadows.get(model, 0) + rows

    def unlogged(self, model: str, rows: int) -> None:
        """Count rows that were answered and are not in the log's sample."""
        self.not_logged[model] = self.not_logged.get(model, 0) + rows

    def unsampled_label(self, model: str, count: int) -> None:
        """Count labels of predictions that are not in the log's sample."""
        self.labels_not_sampled[model] = self.labels_not_sampled.get(model, 0) + count

    @property
    def requests(self) -> dict[tuple[str, int, str, int], int]:
        """Requests by (model, version, role, status)."""
        found: dict[tuple[str, int, str, int], int] = {}
        for key, tally in list(self.tallies.items()):
            counts = {OK: tally.answered} if tally.answered else {}
            found |= {(*key, status): n for status, n in (counts | tally.failed).items()}
        return found

    @property
    def rows(self) -> dict[tuple[str, int, str], int]:
        """Rows of those requests by (model, version, role)."""
        return {key: tally.rows for key, tally in list(self.tallies.items())}

    def of_version(self, model: str, version: int) -> Counted:
        """Return what one version answered since the server started."""
        total = Tally()
        for key, tally in list(self.tallies.items()):
            if key[:2] == (model, version):
                total.add(tally)
        return Counted(
            answered=total.answered,
            failed=sum(total.failed.values()),
            rows=total.rows - total.failed_rows,
            micros=total.micros - total.failed_micros,
            failed_micros=total.failed_micros,
            last_us=total.last_us,
        )

    def asked_us(self, model: str, version: int) -> int:
        """Return when a version was last asked, microseconds since 1970; 0: it never was."""
        tallies = (self.tallies.get((model, version, role.value)) for role in ROLES)
        return max([tally.last_us for tally in tallies if tally is not None], default=0)

    def add(self, other: "Metrics") -> None:
        """Add what happened in another process."""
        self.shadows_dropped += other.shadows_dropped
        self.log_bytes += other.log_bytes
        self.cpu_seconds += other.cpu_seconds
        self.resident += other.resident
        self.jobs_waiting += other.jobs_waiting
        self.jobs_waiting_bytes += other.jobs_waiting_bytes
        for name in _ADDED:
            mine = getattr(self, name)
            for key, value in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + value
        for what, counts in other.batches.items():
            before = self.batches.get(what, [0] * len(counts))
            self.batches[what] = [a + b for a, b in zip(before, counts, strict=True)]
        for key, tally in other.tallies.items():
            self.tallies.setdefault(key, Tally()).add(tally)
        for version, calls in other.calls.items():
            self.calls_of(*version).add(calls)

    def outliving(self) -> "Metrics":
        """Return what counts after the process has ended: nothing waits in it, it holds nothing."""
        return replace(
            self, jobs_waiting=0, jobs_waiting_bytes=0, memory={}, waiting={}, resident=0
        )

    def text(self, generations: dict[str, int]) -> str:
        """Return everything as Prometheus reads it."""
        lines: list[str] = []
        _family(lines, "requests_total", "counter", "Requests, by the arm they were routed to",
                ("model", "version", "role", "status"), self.requests.items())  # fmt: skip
        _family(lines, "rows_total", "counter", "Rows of those requests",
                ("model", "version", "role"), self.rows.items())  # fmt: skip
        _family(lines, "arm_rows_total", "counter", "Rows of an arm, by the version that answered",
                ("model", "arm", "version"), self.arms.items())  # fmt: skip
        _family(lines, "refused_total", "counter", "Requests that got no answer, by why",
                ("model", "why"), self.refused.items())  # fmt: skip
        _family(lines, "error_answers_total", "counter", "Answers that were errors, by status",
                ("status",), [((status,), n) for status, n in self.errors.items()])  # fmt: skip
        _family(lines, "jobs_total", "counter", "Jobs that ended",
                ("model", "state"), self.jobs.items())  # fmt: skip
        _family(lines, "explanations_total", "counter", "Requests for explanations",
                ("model", "version", "status"), self.explanations.items())  # fmt: skip
        _family(lines, "explained_rows_total", "counter", "Rows explained",
                ("model", "version"), self.explained_rows.items())  # fmt: skip
        self._histogram(lines)
        self._sizes(lines)
        for name, kind, help_text, values in (
            ("labels_total", "counter", "Labels accepted", self.labels),
            ("shadow_rows_total", "counter", "Rows scored by the other arm", self.shadows),
            ("fallback_rows_total", "counter", "Rows a baseline answered", self.fallbacks),
            ("unlogged_rows_total", "counter", "Rows outside the log's sample", self.not_logged),
            ("unsampled_labels_total", "counter", "Labels of rows outside the log's sample",
             self.labels_not_sampled),
            ("model_swaps_total", "counter", "Changes of what an endpoint serves", self.swaps),
            ("model_load_failures_total", "counter", "Loads that failed", self.load_failures),
            ("model_loads_total", "counter", "Versions loaded", self.loads),
            ("model_load_seconds_total", "counter", "Seconds that loading and warming them took",
             {model: micros / 1e6 for model, micros in self.load_micros.items()}),
            ("model_evictions_total", "counter", "Times that a model made room", self.given_up),
            ("requests_waiting", "gauge", "Requests for slow models that are not answered yet",
             self.waiting),
            ("generation", "gauge", "Generation served now", generations),
        ):  # fmt: skip
            _family(
                lines, name, kind, help_text, ("model",), (((m,), v) for m, v in values.items())
            )
        _family(lines, "model_memory_bytes", "gauge", "Memory that a version takes",
                ("model", "version"), self.memory.items())  # fmt: skip
        _family(lines, "models_in_memory", "gauge", "Models of which a version is in memory",
                (), [((), len({model for model, _ in self.memory}))])  # fmt: skip
        _family(lines, "shadow_dropped_total", "counter", "Requests not scored by the other arm: "
                "too many were waiting", (), [((), self.shadows_dropped)])  # fmt: skip
        _family(lines, "jobs_waiting", "gauge", "Jobs that wait to be scored",
                (), [((), self.jobs_waiting)])  # fmt: skip
        _family(lines, "jobs_waiting_bytes", "gauge", "Bytes of their requests",
                (), [((), self.jobs_waiting_bytes)])  # fmt: skip
        _family(lines, "cpu_seconds_total", "counter", "Time that processors gave the server",
                (), [((), self.cpu_seconds)])  # fmt: skip
        _family(lines, "resident_bytes", "gauge", "Memory of its processes",
                (), [((), self.resident)])  # fmt: skip
        _family(lines, "log_bytes_total", "counter", "Bytes appended to the prediction log",
                (), [((), self.log_bytes)])  # fmt: skip
        return "\n".join(lines) + "\n"

    def _histogram(self, lines: list[str]) -> None:
        name = "setpoint_request_seconds"
        _head(lines, name, "Time in the server until the answer was logged")
        bounds = [f"{bound / 1e6:g}" for bound in BUCKETS]
        by_model: dict[str, Tally] = {}
        for (model, *_), tally in list(self.tallies.items()):
            by_model.setdefault(model, Tally()).add(tally)
        for model, total in by_model.items():
            _buckets(lines, name, model, bounds, total.latency, total.micros / 1e6)

    def _sizes(self, lines: list[str]) -> None:
        for what, about in (("requests", "Requests that shared a call of a slow model"),
                            ("rows", "Rows in a call of a slow model")):  # fmt: skip
            name = f"setpoint_batch_{what}"
            _head(lines, name, about)
            for (counted, model), counts in list(self.batches.items()):
                if counted == what:
                    total = self.batch_sums[what, model]
                    _buckets(lines, name, model, [str(size) for size in SIZES], counts, total)


def _head(lines: list[str], name: str, about: str) -> None:
    lines.append(f"# HELP {name} {about}")
    lines.append(f"# TYPE {name} histogram")


def _buckets(
    lines: list[str],
    name: str,
    model: str,
    bounds: Sequence[str],
    counts: Sequence[int],
    total: float,
) -> None:
    so_far, label = 0, _escape(model)
    for le, count in zip((*bounds, "+Inf"), counts, strict=True):
        so_far += count
        lines.append(f'{name}_bucket{{model="{label}",le="{le}"}} {so_far}')
    lines.append(f'{name}_sum{{model="{label}"}} {total}')
    lines.append(f'{name}_count{{model="{label}"}} {so_far}')


def _family(
    lines: list[str],
    name: str,
    kind: str,
    help_text: str,
    labels: Labels,
    values: Iterable[tuple[tuple[object, ...], float]],
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
