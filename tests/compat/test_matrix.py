"""What is published of foreign clients is one thing, told twice."""

import json

from tests.compat import matrix


def test_the_page_says_what_the_table_says() -> None:
    rows = json.loads(matrix.PUBLISHED.read_text())
    assert matrix.PAGE.read_text() == matrix.page(rows), "run: make compat"
    assert all(row["answered"] for row in rows if row["passed"])


def test_a_call_is_used_answered_or_not_offered() -> None:
    seen = {"client": "a", "version": "1", "where": "GET /x"}
    page = matrix.page(
        [
            {**seen, "call": "third", "answered": False, "passed": False},
            {**seen, "call": "second", "answered": True, "passed": False},
            {**seen, "call": "first", "answered": True, "passed": True},
        ]
    )
    assert "3 calls: 2 answered, 1 of them used" in page
    rows = [line for line in page.splitlines() if "GET /x" in line]
    assert [line.split(" | ")[2] for line in rows] == ["used |", "answered |", "not offered |"]
