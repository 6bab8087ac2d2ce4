"""Every store of artifacts keeps the same contract."""

from itertools import count
from pathlib import Path

import obstore
import pytest
from tests.s3_server import S3Server

from setpoint.artifacts import contract
from setpoint.artifacts.contract import ObjectStore
from setpoint.artifacts.files import FileStore
from setpoint.artifacts.s3 import S3Store
from setpoint.testing.stores import StoreContract

_prefixes = count()


class TestFiles(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ObjectStore:
        return FileStore(tmp_path)

    def damage(self, store: ObjectStore, address: str, content: bytes) -> None:
        assert isinstance(store, FileStore)
        store.path(address).write_bytes(content)


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    return s3.make()


class TestS3(StoreContract):
    @pytest.fixture
    def store(self, s3: S3Server, bucket: str, tmp_path: Path) -> ObjectStore:
        return S3Store(f"{bucket}/team/{next(_prefixes)}", s3.aws, tmp_path)

    def damage(self, store: ObjectStore, address: str, content: bytes) -> None:
        assert isinstance(store, S3Store)
        obstore.put(store._bucket.client, contract.key_of(address), content)
