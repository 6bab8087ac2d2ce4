"""What every flavor of models must pass: subclass the contract and give it a model.

class TestMine(FlavorContract):
    flavor = Mine()

    def model(self) -> Any:
        return train(self.rows())      # takes the columns of `rows`

    def expected(self, model: Any, rows: Any) -> Any:
        return model.predict(rows)     # [n] scores, or [n, k] probabilities
"""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from setpoint.artifacts.files import FileStore
from setpoint.models import adding
from setpoint.models.compiled import scorer
from setpoint.models.flavors.answers import PROBABILITIES, answering, signed
from setpoint.models.flavors.errors import Uncompilable
from setpoint.models.frames import columns_of, signature_of
from setpoint.models.protocols import Flavor
from setpoint.models.runtime import load


class FlavorContract:
    """Tests of one flavor with one model."""

    flavor: Flavor
    kind = "classification"
    tolerance = 1e-6  #: by which a model read back from its bytes may differ

    def model(self) -> Any:
        """Return a trained model that takes the columns of `rows`."""
        raise NotImplementedError

    def expected(self, model: Any, rows: pl.DataFrame) -> Any:
        """Return what the model itself answers: scores [n], or probabilities [n, k]."""
        raise NotImplementedError

    def rows(self) -> pl.DataFrame:
        """Return rows to train on and to ask about."""
        values = np.random.default_rng(0).normal(size=(200, 4))
        return pl.DataFrame(values, schema=["a", "b", "c", "d"])

    def test_it_knows_its_model_and_no_other(self) -> None:
        assert self.flavor.detect(self.model())
        for other in (3, "text", None, object(), Path("no-such-file.bin")):
            assert not self.flavor.detect(other)

    def test_a_model_survives_its_bytes(self) -> None:
        model, rows = self.model(), self.rows()
        data = self.flavor.save(model)
        assert isinstance(data, bytes)
        signature = signature_of(rows, self.kind)
        ask = self.flavor.load(data, signature)
        columns = columns_of(rows, signature)
        signature = signed(ask(columns), rows.height, signature, [])
        self._same(answering(ask, signature)(columns), self.expected(model, rows))

    def test_one_row_is_answered_as_among_others(self) -> None:
        rows = self.rows()
        signature = signature_of(rows, self.kind)
        ask = self.flavor.load(self.flavor.save(self.model()), signature)
        signature = signed(ask(columns_of(rows, signature)), rows.height, signature, [])
        answer = answering(ask, signature)
        together = _scores(answer(columns_of(rows, signature)))
        alone = [_scores(answer(columns_of(rows[at], signature)))[0] for at in range(5)]
        np.testing.assert_allclose(alone, together[:5], atol=self.tolerance)

    def test_a_compiled_form_is_right_or_refused(self) -> None:
        model, rows = self.model(), self.rows()
        data, signature = self.flavor.save(model), signature_of(rows, self.kind)
        columns = columns_of(rows, signature)
        found = self.flavor.load(data, signature)(columns)
        signature = signed(found, rows.height, signature, [])
        with suppress(Uncompilable):  # anything else fails: the native model could not serve then
            compiled = self.flavor.to_onnx(data, signature)
            answer = scorer(compiled, signature)
            self._same(answer(columns), self.expected(model, rows))

    def test_it_serves_what_is_brought_in(self) -> None:
        rows, model = self.rows(), self.model()
        with tempfile.TemporaryDirectory() as folder:
            store = FileStore(Path(folder))
            held = adding.stored(store, model, rows, kind=self.kind)
            predictor = load(store, held)
            found = predictor.predict(columns_of(rows, held.signature))
            self._same(found, self.expected(model, rows))

    def _same(self, found: Any, expected: Any) -> None:
        expected = np.asarray(expected, dtype=np.float64)
        if isinstance(found, dict) and expected.ndim == 2:
            found = found[PROBABILITIES]
        elif expected.ndim == 2:
            expected = expected[:, -1]
        np.testing.assert_allclose(_scores(found), expected, atol=self.tolerance)


def _scores(found: Any) -> Any:
    return found["score"] if isinstance(found, dict) else found
