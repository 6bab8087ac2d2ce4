"""Which model keeps a request waiting."""

from threading import get_ident
from typing import Any

from setpoint.serve.protocols import Predictor


class Watched:
    """A predictor that tells whether it is at work; else it is as the one it stands for."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.inputs = predictor.inputs
        self._at: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether a call is going on, in any thread."""
        return bool(self._at)

    def predict(self, rows: Any) -> Any:
        me = get_ident()
        self._at.add(me)
        try:
            return self.predictor.predict(rows)
        finally:
            self._at.discard(me)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.predictor, name)
