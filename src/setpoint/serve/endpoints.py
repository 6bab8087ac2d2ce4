"""What is served of one model: loaded versions behind an endpoint, swapped as a whole."""

from collections.abc import Sequence
from functools import lru_cache

from setpoint.serve.arms import Absent, Arm, Broken, spec_of
from setpoint.serve.entities import (
    Deployment,
    EndpointSettings,
    Process,
    Role,
    SplitArm,
    Wanted,
)
from setpoint.serve.keeping import keeping
from setpoint.serve.needs import needs
from setpoint.serve.routing import Route, router, splitter
from setpoint.serve.rules import ROLES
from setpoint.serve.v2 import Inputs, InputSpec
from setpoint.serve.watched import Watched

SLOW_MICROS = 500  #: from which a thread of its own, and company, cost less than they give

LONG_NANOS = 50_000_000  #: from which one call is enough: everybody waited for it
MANY_ROWS = 1_024  #: of a request, from which it is scored aside whatever its model is

_LIVE, _NAMED = ROLES.index(Role.LIVE), ROLES.index(Role.NAMED)


class Endpoint:
    """The versions of one model that take part now. Immutable: a change is another one."""

    def __init__(
        self,
        model: str,
        generation: int,
        deployed: Sequence[Deployment],
        arms: dict[int, Arm],
        settings: EndpointSettings = EndpointSettings(),  # noqa: B008 - frozen
        named: int = 0,
        split: Sequence[SplitArm] = (),
    ) -> None:
        self.model = model
        #: which of the model's endpoints it is: that of a version somebody names; 0: deployed ones
        self.key = model, named
        self.role = _NAMED if named else _LIVE  #: what its answers are logged as
        self.parts = arms  #: what is loaded, by version
        self.generation = generation
        self.settings = settings
        self.deployed = (*deployed, *_besides(model, deployed, split))
        #: what it was made of: to be made once more, with its versions in memory or without
        self.wanted = Wanted(deployments=list(deployed), settings=settings, arms=list(split))
        by_role = {d.role: d for d in deployed}
        live = arms[by_role[Role.LIVE].version]
        self.inputs = _inputs(live, [arms[d.version] for d in self.deployed], settings.key_field)
        self.outputs = live.outputs
        self.needs = needs(self.inputs, settings.required)  #: None: rows may lack anything
        discreet = bool(settings.redact)
        self.live = live.behind(self.inputs, discreet=discreet)
        self.canary = self._arm(by_role.get(Role.CANARY), arms)
        self.shadow = self._arm(by_role.get(Role.SHADOW), arms)
        self.route: Route | None = None
        if (canary := by_role.get(Role.CANARY)) is not None:
            self.route = router(f"{model}/{canary.version}", canary.weight)
        #: the arms of a test, by the order of their places
        self.arms = [
            (one.name, arms[one.version].behind(self.inputs, discreet=discreet)) for one in split
        ]
        if split:
            self.route = splitter(model, split, self.route)
        #: whom a tester may name: versions by their part in a release, or the name of their arm
        self.routes = {d.role.value: d.version for d in deployed} | {
            one.name: one.version for one in split
        }
        self.keyed = bool(settings.key_header or settings.key_field)
        by_key = self.keyed and self.route is not None
        sole = self.outputs.only_score and self.outputs.trace is None
        self.plain = sole and not self.inputs.mixed and not split and not by_key  #: `serve.plain`
        self.alone = len(deployed) == 1
        #: what is logged of its rows; None: all of everything
        self.keeping = keeping(settings, counted=not named)
        predictor = self.live.predictor
        if settings.timeout is not None:
            self._watch()
        #: why the live version cannot answer, None if it can
        self.broken = predictor.why if isinstance(predictor, Broken) else None
        #: whether its versions are not in memory, and loaded for who asks
        self.absent = isinstance(predictor, Absent)
        aside = (
            self.absent
            or settings.timeout is not None
            or settings.batch_wait
            or settings.process is Process.OWN
        )
        self._bound = -1.0 if aside else SLOW_MICROS
        #: whether it is scored beside the event loop: it takes too long, or may not hold it up
        self.slow = bool(aside) or self.live.pace > self._bound
        self.body = settings.body  #: bytes of a request that it reads
        self._micros = min(self.live.pace, 4.0 * SLOW_MICROS)

    def trouble(self) -> str | None:
        """Return why the live version cannot answer now, None if it can."""
        return self.broken or getattr(self.live.predictor, "down", None)

    def took(self, nanos: int) -> None:
        """Note how long scoring a request took: a slow moving mean, so that one that was
        held up by something else does not count as slow. One that took very long does.
        """
        most = 4 * SLOW_MICROS
        weight = 1.0 if nanos > LONG_NANOS else 0.05
        self._micros += (min(nanos / 1000, most) - self._micros) * weight
        self.slow = self._micros > self._bound

    def goes_on_as(self, before: "Endpoint") -> None:
        """Be as slow as another one was, until requests show otherwise."""
        self._micros = before.pace
        self.slow = self.slow or self._micros > self._bound

    @property
    def pace(self) -> float:
        """Microseconds that scoring a request takes, the mean of late."""
        return self._micros

    def _watch(self) -> None:
        """Have the arms tell which of them keeps a request waiting."""
        for arm in (self.live, self.canary, *(arm for _, arm in self.arms)):
            if arm is not None and not isinstance(arm.predictor, Absent | Broken | Watched):
                arm.predictor = Watched(arm.predictor)

    def _arm(self, deployment: Deployment | None, arms: dict[int, Arm]) -> Arm | None:
        if deployment is None:
            return None
        discreet = bool(self.settings.redact)
        return arms[deployment.version].behind(self.inputs, discreet=discreet)


def made(
    model: str, generation: int, wanted: Wanted, arms: dict[int, Arm], named: int = 0
) -> Endpoint:
    """Return the endpoint that has what is wanted of these arms."""
    return Endpoint(
        model, generation, wanted.deployments, arms, wanted.settings, named, wanted.arms
    )


def emptied(endpoint: Endpoint) -> Endpoint:
    """Return what takes an endpoint's place whose versions are given up."""
    arms = {v: Arm(v, Absent.of(arm.predictor)) for v, arm in endpoint.parts.items()}
    found = made(endpoint.model, endpoint.generation, endpoint.wanted, arms, endpoint.key[1])
    found.goes_on_as(endpoint)
    return found


def _besides(
    model: str, deployed: Sequence[Deployment], split: Sequence[SplitArm]
) -> list[Deployment]:
    """Return the versions that only a test has here, each once."""
    known = {one.version for one in deployed}
    return [
        Deployment(model=model, version=version, role=Role.ARM, weight=share)
        for version, share in {one.version: one.share for one in split}.items()
        if version not in known
    ]


def _inputs(live: Arm, arms: Sequence[Arm], key: str) -> Inputs:
    """Return the live version's inputs, then what others take besides, and what routing does."""
    found = {i.name: spec_of(i) for i in live.inputs}
    for arm in arms:
        for known in arm.inputs:
            found.setdefault(known.name, spec_of(known, required=False))
    if key:
        found.setdefault(key, InputSpec(key, text=True, required=False, datatype="BYTES", key=True))
    return _shared(tuple(found.values()))


@lru_cache(maxsize=1024)
def _shared(specs: tuple[InputSpec, ...]) -> Inputs:
    """Return the inputs of all endpoints that have these: of a thousand models many are alike.

    They take memory once, and stay in the processor's caches whichever of them is asked.
    """
    return Inputs(specs)
