"""Signing and verifying with key files on this machine, by `model-signing` (an extra).

What is signed is a folder: the forms a version is stored in, and its signature of inputs.
Anybody can lay it out with `lay_out` and verify it with that package's own tools.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from setpoint.artifacts.contract import ObjectStore
from setpoint.errors import Conflict, Invalid, MissingExtra, NotFound
from setpoint.models.entities import ModelVersion

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from model_signing import signing, verifying
except ImportError as error:
    raise MissingExtra(
        "signing needs packages that are not installed",
        where=str(error),
        hint="pip install 'setpoint[signing]'",
    ) from None


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """What signing a version gives."""

    bundle: bytes  #: a Sigstore bundle in JSON
    key: str  #: fingerprint of the public key


def lay_out(objects: ObjectStore, version: ModelVersion, folder: Path) -> None:
    """Write the files of a version that was trained here into an empty folder.

    Raises:
        Conflict: If its files are elsewhere, or were given up.
    """
    if not version.trained_here:
        raise Conflict(
            f"the files of {version.model}/{version.number} are at {version.source}",
            hint="download them and give their folder with --files DIR",
        )
    if version.freed_at is not None:
        raise Conflict(f"the files of {version.model}/{version.number} were freed")
    (folder / f"model.{version.flavor}").write_bytes(objects.get(version.artifact))
    if version.onnx is not None:
        (folder / "model.onnx").write_bytes(objects.get(version.onnx))
    described = msgspec.json.encode(version.signature, order="sorted")
    (folder / "signature.json").write_bytes(described)


def sign(objects: ObjectStore, version: ModelVersion, key: Path, files: Path | None) -> Signature:
    """Sign the files of a version with a private key on an elliptic curve, in PEM.

    Args:
        objects: Where its files are, if it was trained here.
        version: What is signed.
        key: The file of the private key, not encrypted.
        files: The folder of its files, if they are elsewhere.
    """
    public = _public(key, private=True)
    with _folder(objects, version, files) as folder, tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / "model.sig"
        try:
            signer = signing.Config()  # type: ignore[no-untyped-call]
            config = signer.use_elliptic_key_signer(private_key=key)
            config.sign(folder, path)
        except (ValueError, TypeError) as error:
            raise Invalid("the model cannot be signed with this key", where=str(error)) from None
        return Signature(bundle=path.read_bytes(), key=_fingerprint(public))


def verify(objects: ObjectStore, version: ModelVersion, key: Path, files: Path | None) -> None:
    """Verify the signature of a version with a public key.

    Raises:
        NotFound: If it is not signed.
        Conflict: If the key is another one, or the files are not those that were signed.
    """
    if version.signed is None:
        raise NotFound(
            f"{version.model}/{version.number} is not signed",
            hint=f"setpoint models sign {version.model} {version.number} --key KEY.pem",
        )
    fingerprint = _fingerprint(_public(key, private=False))
    if fingerprint != version.signed.key:
        raise Conflict(
            f"{version.model}/{version.number} was signed by {version.signed.actor} "
            "with another key",
            where=f"signed with {version.signed.key}, this is {fingerprint}",
        )
    with _folder(objects, version, files) as folder, tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / "model.sig"
        path.write_bytes(objects.get(version.signed.bundle))
        try:
            verifier = verifying.Config()  # type: ignore[no-untyped-call]
            config = verifier.use_elliptic_key_verifier(public_key=key)
            config.verify(folder, path)
        except (ValueError, TypeError) as error:
            raise Conflict(
                f"the files of {version.model}/{version.number} are not those that were signed",
                where=" ".join(str(error).split())[:500],
            ) from None


@contextmanager
def _folder(objects: ObjectStore, version: ModelVersion, files: Path | None) -> Iterator[Path]:
    if files is not None:
        yield files
        return
    with tempfile.TemporaryDirectory() as made:
        lay_out(objects, version, Path(made))
        yield Path(made)


def _public(path: Path, *, private: bool) -> Any:
    try:
        data = path.read_bytes()
        if private:
            return serialization.load_pem_private_key(data, password=None).public_key()
        return serialization.load_pem_public_key(data)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "private" if private else "public"
        raise Invalid(
            f"{path} is no {what} key",
            where=str(error),
            hint="make one: openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
        ) from None


def _fingerprint(public: Any) -> str:
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(der).hexdigest()
