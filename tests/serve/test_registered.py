"""What a store deploys, as a server learns it."""

from contextlib import closing
from pathlib import Path

from tests.stores import Files, is_open

from setpoint.config import Settings
from setpoint.serve.registered import from_store


def test_a_store_is_open_until_its_source_is_closed(tmp_path: Path, file_stores: Files) -> None:
    settings = Settings(home=tmp_path, database_url=file_stores.empty(tmp_path), actor="ada")
    with closing(from_store(settings)) as source:
        assert source.deployed(list) == ({}, {})
        assert is_open(tmp_path)
    assert not is_open(tmp_path)
