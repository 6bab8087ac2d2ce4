from pathlib import Path

import pytest

from setpoint.errors import Conflict, NotFound
from setpoint.serve.jobs.disk import Folder
from setpoint.serve.jobs.entities import Job, Outcome, State


def job(name: str) -> Job:
    return Job(
        id=name,
        model="m",
        version=0,
        length="",
        rows=1,
        ids=["a"],
        request_id="req_1",
        accepted_us=1,
        bytes=4,
    )


def ended(name: str) -> Outcome:
    return Outcome(
        id=name, model="m", state=State.DONE, rows=1, accepted_us=1, started_us=2, ended_us=3
    )


def test_a_folder_has_one_server(tmp_path: Path) -> None:
    first = Folder(tmp_path)
    with pytest.raises(Conflict, match="another server"):
        Folder(tmp_path)
    first.close()
    Folder(tmp_path).close()


def test_what_was_kept_is_there_for_the_next_server(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for name in ("job_2", "job_1", "job_3"):
        folder.keep(job(name), b"body")
    folder.end(ended("job_1"), b"answer")
    folder.settle("job_1")
    folder.end(ended("job_2"))  # and killed before its request was deleted
    (tmp_path / "job_4.job.new").write_bytes(b"half")  # or before it was whole
    folder.close()
    folder = Folder(tmp_path)
    assert [one.id for one in folder.waiting()] == ["job_3"]
    assert [one.id for one in folder.ended()] == ["job_1", "job_2"]
    assert folder.job("job_3") == (job("job_3"), b"body")
    assert folder.outcome("job_1") == (ended("job_1"), b"answer")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "job_1.end",
        "job_2.end",
        "job_3.job",
        "lock",
    ]
    folder.forget("job_1")
    with pytest.raises(NotFound, match="job_1"):
        folder.outcome("job_1")
    folder.close()
