"""Which versions of a model answer which share, as others' routes are to be told."""

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from setpoint.errors import Invalid
from setpoint.models.entities import ModelVersion
from setpoint.packaging.references import ImageReference, image
from setpoint.serve.entities import Deployment, Role

_LONGEST = 50  #: of a name; Kubernetes has 63, and something is added to it
_PARTS = 1000  #: shares are told in thousandths


class Arm(Struct, frozen=True, kw_only=True):
    """One version, and what it does with the traffic of its model."""

    version: ModelVersion
    role: Role
    weight: int  #: thousandths of the requests that it answers; 0 of a shadow

    @property
    def name(self) -> str:
        """What it is called where versions are things of their own."""
        return f"{resource_name(self.version.model)}-v{self.version.number}"


class Traffic(Struct, frozen=True, kw_only=True):
    """The versions of one model that take part."""

    model: str
    arms: list[Arm]  #: the live one first

    @property
    def name(self) -> str:
        """What the model is called as a resource."""
        return resource_name(self.model)

    @property
    def live(self) -> Arm:
        return self.arms[0]

    @property
    def answering(self) -> list[Arm]:
        """The arms that answer, with their weights."""
        return [arm for arm in self.arms if arm.role is not Role.SHADOW]

    @property
    def shadow(self) -> Arm | None:
        """The arm that is asked and answers nobody."""
        return next((arm for arm in self.arms if arm.role is Role.SHADOW), None)


def alone(version: ModelVersion) -> Traffic:
    """Return the traffic of a version that answers everything."""
    arm = Arm(version=version, role=Role.LIVE, weight=_PARTS)
    return Traffic(model=version.model, arms=[arm])


def traffic_of(
    version: ModelVersion,
    deployed: Sequence[Deployment],
    find: Callable[[int], ModelVersion],
) -> Traffic:
    """Return who answers what: as a release in progress has it, if `version` is the live one.

    Args:
        version: What is exported.
        deployed: What is behind the endpoint of its model now.
        find: Returns a version of the model by its number.
    """
    if not any(each.version == version.number and each.role is Role.LIVE for each in deployed):
        return alone(version)
    others = [each for each in deployed if each.role is not Role.LIVE]
    weights = {each.version: round(each.weight * _PARTS) for each in others}
    answered = sum(weights[each.version] for each in others if each.role is Role.CANARY)
    arms = [Arm(version=version, role=Role.LIVE, weight=_PARTS - answered)]
    arms += [
        Arm(
            version=find(each.version),
            role=each.role,
            weight=weights[each.version] if each.role is Role.CANARY else 0,
        )
        for each in others
    ]
    return Traffic(model=version.model, arms=arms)


def images_of(traffic: Traffic, said: str | None) -> dict[int, str]:
    """Return the image of each version, as `setpoint build` tags them: by their number.

    Args:
        traffic: The versions.
        said: A repository in a registry; with a tag or digest, if there is one version only.

    Raises:
        Invalid: If it names no image, or one where several are needed.
    """
    if said is None:
        raise Invalid(
            "these manifests run an image", hint="name it: --image registry.example/team/churn"
        )
    named: ImageReference = image(said)
    if not (named.tag or named.digest):
        return {arm.version.number: f"{named}:{arm.version.number}" for arm in traffic.arms}
    if len(traffic.arms) > 1:
        numbers = ", ".join(str(arm.version.number) for arm in traffic.arms)
        raise Invalid(
            f"{said} is one image, and versions {numbers} take part in a release",
            hint=f"name the repository alone, {named.host}/{named.name}: tags are the numbers",
        )
    return {traffic.live.version.number: str(named)}


def resource_name(model: str) -> str:
    """Return a name that Kubernetes and SageMaker allow: lower case, letters, digits and dashes.

    Raises:
        Invalid: If nothing is left of the model's own name.
    """
    name = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-")[:_LONGEST].rstrip("-")
    if not name:
        raise Invalid(
            f"{model!r} has no letter or digit to make a name of", hint="rename the model"
        )
    return name if name[0].isalpha() else f"m-{name}"[:_LONGEST]
