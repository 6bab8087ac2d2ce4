"""Which texts name objects of S3, and that no answer goes elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.errors import Invalid
from setpoint.serve.jobs.locations import Location, location, place, places


def test_an_object_is_named_by_its_bucket_and_key() -> None:
    assert location("s3://team/in/a b%41#?.csv") == Location("team", "in/a b%41#?.csv")
    assert str(location("s3://team/x")) == "s3://team/x"


@pytest.mark.parametrize(
    "said",
    [
        *("", "team/x", "s3://", "s3://team", "s3://team/", "s3:///x", "s3://team//x", "s3://t/x"),
        *("s3://team/x/", "s3://team/../x", "s3://team/a/./x", "s3://team/a\nb", "S3://team/x"),
        *("https://team.s3.amazonaws.com/x", "file:///etc/passwd", "http://169.254.169.254/x"),
        *("s3://te am/x", "s3://user:word@team/x", "s3://team:80/x", "s3://team/" + "x" * 1_025),
    ],
)
def test_what_names_no_object_is_refused(said: str) -> None:
    with pytest.raises(Invalid, match="no object of S3") as caught:
        location(said)
    assert "s3://BUCKET/KEY" in caught.value.hint


def test_a_place_is_a_bucket_or_a_folder_of_one() -> None:
    assert place("s3://team") == place("s3://team/") == "s3://team"
    assert place("s3://team/a/b/") == "s3://team/a/b"
    for said in (
        "",
        "team",
        "s3://",
        "s3://team/../x",
        "s3://team//x",
        "https://team/x",
        "s3://a b",
    ):
        with pytest.raises(Invalid, match="no place for answers"):
            place(said)


def test_answers_are_named_by_their_job_or_as_it_is_asked() -> None:
    assert places("s3://team", "job_1") == ("s3://team/job_1.out", "s3://team/job_1-error.out")
    assert places("s3://team/p", "job_1", "/a/b/", "x.csv") == (
        "s3://team/p/a/b/x.csv",
        "s3://team/p/a/b/job_1-error.out",
    )


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_name_leads_out_of_the_place(extension: str, filename: str) -> None:
    try:
        found = places("s3://team/p", "job_1", extension, filename)
    except Invalid:
        return
    for said in found:
        assert said.startswith("s3://team/p/")
        at = location(said)
        assert at.bucket == "team"
        assert ".." not in at.key.split("/")


@pytest.mark.parametrize("extension", ["..", "a/../b", "a//b", "s3://x", "a b", "x" * 513])
def test_a_folder_elsewhere_is_refused(extension: str) -> None:
    with pytest.raises(Invalid, match="no name for an answer"):
        places("s3://team/p", "job_1", extension)


@pytest.mark.parametrize("filename", ["..", "a/b", "a.b.c", ".a", "x" * 33])
def test_a_file_elsewhere_is_refused(filename: str) -> None:
    with pytest.raises(Invalid, match="no name for an answer"):
        places("s3://team/p", "job_1", "", filename)
