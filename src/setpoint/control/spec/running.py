"""What happens once a version serves: answering, releasing, watching, reacting."""

from typing import Annotated, ClassVar, Literal

from msgspec import Struct, field

from setpoint.control.spec.fields import (
    Code,
    Column,
    Count,
    Doc,
    Duration,
    Growth,
    Percent,
    Size,
    Versions,
)
from setpoint.control.spec.units import Amount, Rate, parse_duration, parse_rate


class Log(Struct, frozen=True, kw_only=True):
    """Which predictions are kept."""

    sample: Annotated[
        Percent,
        Doc(
            "the share of predictions logged, chosen by their ids; what failed is logged always",
            "errors and latency are judged on all requests; drift, losses and quality on the "
            "sample, which takes as much longer; the others cannot be traced, and their labels "
            "are ignored",
        ),
    ] = 1.0
    redact: Annotated[
        tuple[Column, ...],
        Doc(
            "inputs and outputs whose values are never logged, besides what the contract marks as "
            "personal",
            "null is logged instead, and nothing watches them",
        ),
    ] = ()
    keep: Annotated[Duration, Doc("how long they are kept", "then they are deleted")] = (
        parse_duration("90d")
    )


class Limits(Struct, frozen=True, kw_only=True):
    """What one endpoint may take of the server, for each of its worker processes."""

    concurrency: Annotated[
        Count,
        Doc(
            "calls of the model that may run at the same time",
            "more than 1 needs a model that is safe in threads; with `process: own` each call "
            "has a process",
        ),
    ] = 1
    queue: Annotated[
        Count,
        Doc("requests that may wait for the model", "the next one is told to come again (429)"),
    ] = 1000
    timeout: Annotated[
        Duration | None,
        Doc(
            "how long a request may take",
            "then the fallback answers, or 504; without it as long as it takes. A model with a "
            "time-out is scored beside the event loop, which costs a fast one about 0.1 ms",
        ),
    ] = None
    body: Annotated[Size, Doc("the longest request, unpacked", "a longer one is refused (413)")] = (
        10_000_000
    )
    memory: Annotated[
        Size | None,
        Doc(
            "address space of a process of the model, with `process: own`",
            "what would take more fails in that process alone",
        ),
    ] = None


class Batch(Struct, frozen=True, kw_only=True):
    """Which requests share a call of a model that is scored beside the event loop."""

    rows: Annotated[Count, Doc("the most rows in one call", "fewer take less memory")] = 4096
    wait: Annotated[
        Duration,
        Doc(
            "how long a request that finds its model idle waits for company",
            "longer shares calls at low load and makes every answer later",
        ),
    ] = parse_duration("0s")


class Fallback(Struct, frozen=True, kw_only=True):
    """What answers when the live version fails, or does not in time."""

    SHORT: ClassVar[str] = "use"

    use: Annotated[
        Literal["baseline", "nothing"],
        Doc("the baseline that was trained beside a version", "`nothing`: the request fails"),
    ] = "nothing"
    value: Annotated[float | None, Doc("a number that is the score of every row")] = None
    code: Annotated[
        Code | None,
        Doc(
            "a function that is given the columns as NumPy arrays by name, and returns a score a "
            "row, or one for all",
            "it is kept as it is now when it is applied",
        ),
    ] = None


class Key(Struct, frozen=True, kw_only=True):
    """What a row is routed by: the same key is answered by the same version."""

    header: Annotated[
        str | None,
        Doc("the header of HTTP, or metadata of gRPC, that names it", "for all rows of a request"),
    ] = None
    field: Annotated[
        Column | None,
        Doc(
            "the input that holds it", "one that is no input of the model is taken besides, as text"
        ),
    ] = None


class Serve(Struct, frozen=True, kw_only=True):
    """How predictions are answered."""

    log: Annotated[Log, Doc("the prediction log")] = Log()
    limits: Annotated[Limits, Doc("what the endpoint may take of the server")] = Limits()
    batch: Annotated[Batch, Doc("which requests share a call of a slow model")] = Batch()
    process: Annotated[
        Literal["shared", "own"],
        Doc(
            "where the model runs: in the server's process, or in one of its own",
            "`own`: a model that hangs, crashes or takes too much memory harms nobody else, at "
            "0.1 to 0.3 ms a call and the memory of a process",
        ),
    ] = "shared"
    versions: Annotated[
        Versions | None,
        Doc(
            "which versions can be asked for by number or alias, besides those deployed",
            "`latest 2`, `all`, `[1, 4]` or aliases such as `champion`. They answer who names "
            "them and nobody else, are loaded when they are asked, and say nothing to releases "
            "and monitors",
        ),
    ] = None
    swap: Annotated[
        Literal["keep", "replace"],
        Doc(
            "what a new version does that does not fit beside the old one, under a limit of memory",
            "`keep`: the old one answers meanwhile, and both are in memory; `replace`: the old one "
            "is given up first, and requests wait for the new one",
        ),
    ] = "keep"
    fallback: Annotated[Fallback, Doc("what answers when the live version fails or is late")] = (
        Fallback()
    )
    key: Annotated[
        Key, Doc("what rows are routed by where a request gives no keys; else by their ids")
    ] = Key()


class Shadow(Struct, frozen=True, kw_only=True):
    """The stage in which a new version computes and nobody sees its answers."""

    for_: Annotated[
        Amount,
        Doc(
            "how long: a number of requests or a time",
            "errors and quality are compared on the same requests, at no risk",
        ),
    ] = field(default=Amount(requests=500), name="for")


class Canary(Struct, frozen=True, kw_only=True):
    """The stage in which a new version answers a growing share of rows."""

    steps: Annotated[
        tuple[Percent, ...],
        Doc("the shares of traffic, rising to 100%", "smaller first steps risk less"),
    ] = (0.05, 0.25, 1.0)
    false_rollback: Annotated[
        Percent,
        Doc(
            "how often a healthy version may be rolled back",
            "shared by all guards; lower needs more evidence to roll back",
        ),
    ] = 0.01
    false_promote: Annotated[
        Percent,
        Doc(
            "how often a version worse than the margin may be promoted",
            "lower needs more evidence to promote",
        ),
    ] = 0.05
    at_most: Annotated[
        Duration, Doc("when a release without a verdict ends", "then `inconclusive` says")
    ] = parse_duration("7d")
    margin: Annotated[
        Growth,
        Doc(
            "how much more often than the live version it may fail, be slow or fall back",
            "wider decides sooner and tolerates more",
        ),
    ] = 0.25
    loss_margin: Annotated[
        Growth,
        Doc(
            "how much larger than the live version's its loss per label may be",
            "wider decides sooner and tolerates more",
        ),
    ] = 0.02
    objective_margin: Annotated[
        Percent,
        Doc(
            "how much lower than the live version's its objective may be, in a mean over blocks "
            "of time: 2% is 0.02 of ROC AUC",
            "wider tolerates more, and finds a worse version later",
        ),
    ] = 0.02
    block: Annotated[
        Duration,
        Doc(
            "rows this close in time may be right or wrong together",
            "longer takes more time to judge the loss; shorter than the truth decides on chance",
        ),
    ] = parse_duration("1m")
    inconclusive: Annotated[
        Literal["hold", "promote"],
        Doc(
            "what happens at `at_most` without a verdict",
            "`hold` waits for a person; `promote` goes on and records “not proven”, or rolls "
            "back what leans towards worse",
        ),
    ] = "hold"


class Approve(Struct, frozen=True, kw_only=True):
    """Whose consent a release needs."""

    by: Annotated[tuple[str, ...], Doc("the roles, any one of which may approve")]
    when: Annotated[
        Literal["always", "spec changed"],
        Doc("which releases need it", "`spec changed`: retrained versions pass without"),
    ] = "always"


class Release(Struct, frozen=True, kw_only=True):
    """How a new version takes over."""

    shadow: Annotated[Shadow, Doc("first it computes along, unseen")] = Shadow()
    canary: Annotated[Canary, Doc("then it answers a share of traffic")] = Canary()
    approve: Annotated[
        Approve | None, Doc("whose consent is needed", "the release waits for it")
    ] = None
    on_breach: Annotated[
        Literal["rollback", "hold"],
        Doc("what happens when a guard is breached", "`hold` leaves it to a person"),
    ] = "rollback"


class Drift(Struct, frozen=True, kw_only=True):
    """Whether inputs and predictions still look as in training."""

    features: Annotated[
        Literal["all"] | tuple[Column, ...],
        Doc("the features watched", "fewer find a change in those sooner; [] is none"),
    ] = "all"
    prediction: Annotated[bool, Doc("whether the scores are watched too")] = True
    effect: Annotated[
        float,
        Doc(
            "the shift that does not matter, about in standard deviations",
            "larger ignores more",
        ),
    ] = 0.05


class Quality(Struct, frozen=True, kw_only=True):
    """Whether predictions are still right."""

    estimate_meanwhile: Annotated[
        bool,
        Doc("estimate the metric until labels arrive", "shown as an estimate, with a band"),
    ] = True


class Watch(Struct, frozen=True, kw_only=True):
    """What is watched in use, and how many false alarms are acceptable."""

    drift: Annotated[Drift, Doc("inputs and predictions against training")] = Drift()
    quality: Annotated[Quality, Doc("predictions against labels")] = Quality()
    window: Annotated[
        Duration,
        Doc("how much time is judged at once", "shorter finds big changes sooner"),
    ] = parse_duration("1d")
    alarm_budget: Annotated[
        Rate,
        Doc(
            "false alarms allowed, over all monitors of the model together",
            "smaller is quieter and finds changes later",
        ),
    ] = parse_rate("1/month")


class Stale(Struct, frozen=True, kw_only=True):
    """When a version is too old, whatever the monitors say."""

    SHORT: ClassVar[str] = "after"

    after: Annotated[Duration, Doc("the age at which it is retrained")]


class Retrain(Struct, frozen=True, kw_only=True):
    """How often a model may be retrained by itself."""

    at_most: Annotated[
        Rate, Doc("the most retrains", "alarms beyond it wait; people may always retrain")
    ] = parse_rate("1/week")


class React(Struct, frozen=True, kw_only=True):
    """What is done about an alarm."""

    drift: Annotated[
        Literal["retrain", "alarm"],
        Doc("on a drift alarm", "a retrained version still passes gate and release"),
    ] = "retrain"
    quality: Annotated[Literal["retrain", "alarm"], Doc("on a quality alarm")] = "retrain"
    stale: Annotated[Stale | None, Doc("retrain at an age", "without it never")] = None
    retrain: Annotated[Retrain, Doc("the limit on retraining")] = Retrain()


class Privacy(Struct, frozen=True, kw_only=True):
    """Whom the rows are about, and for how long they may be kept."""

    subject: Annotated[
        Column | None, Doc("the column that names the person", "the unit of erasure")
    ] = None
    retention: Annotated[
        Duration | None,
        Doc(
            "how old predictions, labels, their log, and rows to train on may become",
            "older ones are deleted, or not trained on; without it `serve.log.keep` alone says",
        ),
    ] = None
