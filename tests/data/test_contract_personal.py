"""Which properties a contract marks as personal."""

import pytest

from setpoint.data.contract import parse

HEAD = """\
apiVersion: v3.1.0
kind: DataContract
id: people
version: 1.0.0
status: active
schema:
- name: people
  properties:
  - name: plain
    classification: restricted
    tags: [finance]
    customProperties: [{property: owner, value: crm}]
  - name: asked
"""


@pytest.mark.parametrize(
    "mark",
    [
        "classification: PII",
        "classification: personal",
        "classification: personalData",
        "classification: Sensitive Personal Data",
        "tags: [crm, PERSONAL_DATA]",
        "tags: ['special-category']",
        "customProperties: [{property: pii, value: true}]",
        "customProperties: [{property: personalData, value: 'yes'}]",
        "customProperties: [{property: classification, value: pii}]",
    ],
)
def test_a_property_is_personal_by_its_class_a_tag_or_a_property_of_its_own(mark: str) -> None:
    assert parse(f"{HEAD}    {mark}\n").personal == ["asked"]


@pytest.mark.parametrize(
    "mark",
    [
        "classification: internal",
        "tags: [personalised]",
        "customProperties: [{property: pii, value: false}]",
        "description: personal",
    ],
)
def test_what_is_marked_otherwise_is_not(mark: str) -> None:
    assert parse(f"{HEAD}    {mark}\n").personal == []


def test_a_mark_makes_no_other_contract() -> None:
    plain, marked = parse(HEAD), parse(f"{HEAD}    classification: pii\n")
    assert plain.identity == marked.identity
