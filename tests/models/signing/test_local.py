"""A version is signed with a key of one's own, and any changed byte is found."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.models.conftest import Adds, Trains

from setpoint.artifacts.files import FileStore
from setpoint.artifacts.store import open_store
from setpoint.db.local import LocalBackend
from setpoint.errors import Conflict, Invalid, NotFound
from setpoint.models import store
from setpoint.models.entities import ModelVersion
from setpoint.models.signing import local, service


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a private and a public key."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private, public


@pytest.fixture
def objects(backend: LocalBackend) -> FileStore:
    return FileStore(backend.settings.objects)


def signed(
    backend: LocalBackend, version: ModelVersion, private: Path, files: Path | None = None
) -> ModelVersion:
    """Sign a version and note it; return the version as it is then."""
    objects = open_store(backend.settings)
    made = local.sign(objects, version, private, files)
    cmd = service.AttachSignature(
        model=version.model,
        number=version.number,
        bundle=objects.put(made.bundle),
        key=made.key,
    )
    assert backend.call(service.attach, cmd).version.signed is not None
    with backend.reading() as conn:
        return store.get(conn, version.model, version.number)


def test_a_signed_version_verifies_until_a_byte_of_it_changes(
    backend: LocalBackend, objects: FileStore, train: Trains, tmp_path: Path
) -> None:
    private, public = keys(tmp_path, "mine")
    version = train(artifact=objects.put(b"weights"), onnx=objects.put(b"graph"))
    with pytest.raises(NotFound, match="is not signed"):
        local.verify(objects, version, public, None)
    version = signed(backend, version, private)
    local.verify(objects, version, public, None)
    folder = tmp_path / "files"
    folder.mkdir()
    local.lay_out(objects, version, folder)
    (folder / "model.onnx").write_bytes(b"Graph")
    with pytest.raises(Conflict, match="not those that were signed"):
        local.verify(objects, version, public, folder)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "more").write_bytes(b"")
    with pytest.raises(Conflict, match="not those that were signed"):
        local.verify(objects, version, public, folder)


def test_another_key_does_not_verify(
    backend: LocalBackend, objects: FileStore, train: Trains, tmp_path: Path
) -> None:
    private, _ = keys(tmp_path, "mine")
    _, other = keys(tmp_path, "other")
    version = signed(backend, train(artifact=objects.put(b"weights")), private)
    with pytest.raises(Conflict, match="with another key"):
        local.verify(objects, version, other, None)


def test_files_from_elsewhere_are_given_as_a_folder(
    backend: LocalBackend, objects: FileStore, add: Adds, tmp_path: Path
) -> None:
    private, public = keys(tmp_path, "mine")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}")
    version = add().version
    with pytest.raises(Conflict, match="are at s3"):
        local.sign(objects, version, private, None)
    version = signed(backend, version, private, folder)
    local.verify(objects, version, public, folder)


def test_what_is_no_key_or_no_signature_is_refused(
    backend: LocalBackend, objects: FileStore, train: Trains, tmp_path: Path
) -> None:
    version = train(artifact=objects.put(b"weights"))
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no key")
    for path in (wrong, tmp_path / "nowhere.pem"):
        with pytest.raises(Invalid, match="no private key"):
            local.sign(objects, version, path, None)
    for bundle, key in ((objects.put(b"x"), "short"), ("b3:" + "0" * 64, "0" * 64)):
        cmd = service.AttachSignature(model="late", number=1, bundle=bundle, key=key)
        with pytest.raises(Invalid):
            backend.call(service.attach, cmd)
