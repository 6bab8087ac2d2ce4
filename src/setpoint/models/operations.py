"""Every operation on models, from training's side and the registry's."""

from typing import Any

from setpoint.core.operations import Operation
from setpoint.models import service
from setpoint.models.cards import service as cards
from setpoint.models.compare import service as compare
from setpoint.models.registry import aliases
from setpoint.models.registry import service as registry
from setpoint.models.retention import service as retention
from setpoint.models.review import service as review
from setpoint.models.search import service as search
from setpoint.models.signing import service as signing

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *service.OPERATIONS,
    *registry.OPERATIONS,
    *aliases.OPERATIONS,
    *cards.OPERATIONS,
    *compare.OPERATIONS,
    *review.OPERATIONS,
    *retention.OPERATIONS,
    *search.OPERATIONS,
    *signing.OPERATIONS,
)
