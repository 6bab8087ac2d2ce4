"""The card: everything recorded is on it, and what was not is said to be missing."""

from datetime import UTC, datetime

import msgspec

from setpoint.models.card import render
from setpoint.models.entities import (
    Check,
    Gate,
    Input,
    ModelVersion,
    Override,
    Parity,
    Signature,
    Signing,
)
from setpoint.models.registry.entities import Entry
from setpoint.models.review.entities import Approval

BORN = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAIN = ModelVersion(
    model="late",
    number=3,
    run_id="run_1",
    why="drift: alarm alm_1",
    created_at=BORN,
    flavor="python",
    artifact="b3:0",
    signature=Signature(inputs=[Input(name=f"f{i}", datatype="FP64") for i in range(61)]),
)
FULL = ModelVersion(
    model="late",
    number=3,
    run_id="run_1",
    why="first version",
    created_at=BORN,
    flavor="lightgbm",
    artifact="b3:0",
    onnx="b3:1",
    parity=Parity(held=True, rows=9_000, max_difference=2e-16),
    signature=Signature(inputs=[Input(name="a|b", datatype="FP64")], missing=False),
    metrics={"roc_auc": 0.71234},
    gate=Gate(
        checks=[Check(name="objective", passed=False, value=0.6, low=0.5, high=0.7, bound=0.68)],
        passed=False,
    ),
    override=Override(actor="ada", at=BORN, reason="to show the rollback"),
    card="Warns passengers. Not for crew planning.",
    datasets={"flights": 2},
)


def test_everything_recorded_is_on_the_card() -> None:
    card = render(Entry(version=FULL), {"live": 3, "candidate": 4})
    for said in (
        "# late, version 3 · `live`",
        "Born 1 January 2026, 12:00 UTC: first version.",
        "Not for crew planning.",
        "| roc_auc | 0.7123 |",
        "Failed 1 checks.",
        "| objective | **no** | 0.6 | 0.5 … 0.7 | 0.68 |  |",
        "**Overridden** by ada on 1 January 2026, 12:00 UTC: to show the rollback",
        "| a\\|b | FP64 |",
        "does not take missing values",
        "`flights` version 2",
        "held on 9,000 rows, 0 decisions differ",
    ):
        assert said in card


def test_what_was_not_recorded_is_said_to_be_missing() -> None:
    card = render(Entry(version=PLAIN))
    assert "never gated, so it may not serve" in card
    assert card.count("not recorded") == 4
    assert "and 1 more inputs" in card
    assert "no fallback" in card


def test_what_people_said_of_it_is_on_the_card_too() -> None:
    guest = msgspec.structs.replace(
        PLAIN,
        flavor="",
        source="s3://bucket/model",
        run_id="",
        description="From the other team.",
        signature=Signature(inputs=[]),
        signed=Signing(bundle="b3:2", key="ab" * 32, actor="eve", at=BORN),
    )
    approval = Approval(
        id="apv_1",
        model="late",
        number=3,
        role="risk",
        approved=False,
        actor="bob",
        at=BORN,
        reason="too | few rows",
    )
    card = render(Entry(version=guest, tags={"team": "a"}), approvals=[approval])
    for said in (
        "From the other team.",
        "| risk | **rejected** | bob | 1 January 2026, 12:00 UTC | too \\| few rows |",
        "| files | `s3://bucket/model` |",
        "| form | registered from elsewhere |",
        "| signed | by eve, key `abababababababab…` |",
        "| team | a |",
    ):
        assert said in card
