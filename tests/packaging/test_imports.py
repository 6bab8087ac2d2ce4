"""What an image has of ours: what serving a package imports, and nothing of the rest."""

from importlib import metadata
from pathlib import Path

import pytest
from tests.packaging import made

from setpoint.artifacts.contract import ObjectStore
from setpoint.db.local import LocalBackend
from setpoint.errors import Invalid
from setpoint.models.entities import ModelVersion, Stored
from setpoint.packaging import dependencies
from setpoint.packaging.imports import imported_by
from setpoint.serve.package import manifest_of


def test_a_server_of_packages_knows_no_database_and_no_training() -> None:
    found = imported_by(name for name in dependencies._SERVER if name.startswith("setpoint.serve."))
    assert found.foreign == {"blake3", "msgspec", "numpy", "uvicorn"}
    assert {"setpoint/serve/workers.py", "setpoint/serve/own.py"} <= found.modules.keys()
    folders = {path.split("/")[1] for path in found.modules}
    assert folders.isdisjoint({"db", "control", "data", "monitor", "releases", "server", "sdk"})
    assert "setpoint/serve/registered.py" not in found.modules
    assert {"setpoint/__init__.py", "setpoint/serve/__init__.py"} <= found.modules.keys()


def test_a_compiled_version_needs_a_runtime_and_no_framework(late: ModelVersion) -> None:
    need = dependencies.needed([manifest_of(late).version], {})
    named = set(need.distributions)
    assert {"numpy", "onnxruntime", "uvicorn", "uvloop", "httptools", "msgspec"} <= named
    assert named.isdisjoint(
        {"scikit-learn", "polars", "onnx", "SQLAlchemy", "sqlalchemy", "pandas"}
    )


def test_a_version_served_as_trained_brings_what_it_was_trained_with(
    house: LocalBackend, objects: ObjectStore
) -> None:
    tree = made.registered(house, "native", made.tree())
    held = Stored(flavor=tree.flavor, artifact=tree.artifact, onnx=None, signature=tree.signature)
    need = dependencies.needed([held], {tree.artifact: objects.get(tree.artifact)})
    assert {"scikit-learn", "scipy", "joblib", "polars"} <= set(need.distributions)
    assert "onnxruntime" not in need.distributions
    assert "setpoint/models/flavors/sklearn.py" in need.server


def test_a_file_that_changed_after_it_was_installed_is_not_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "brittle-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1.0\n")
    digest = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"  # of nothing
    (about / "RECORD").write_text(f"brittle.py,sha256={digest},0\nbrittle-1.0.dist-info/RECORD,,\n")
    (tmp_path / "brittle.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert "opt/brittle.py" in dependencies.tree_of(["brittle"], "opt")
    (tmp_path / "brittle.py").write_text("import this")
    with pytest.raises(Invalid, match="brittle is not as it was installed"):
        dependencies.tree_of(["brittle"], "opt")


def test_licences_are_shipped_and_tests_are_not() -> None:
    paths = [path for path, _ in dependencies.tree_of(["uvicorn", "h11"], "opt")]
    assert any("licenses" in path.lower() for path in paths)
    assert not any("/tests/" in path for path in paths)
    assert {"opt/uvicorn/main.py", "opt/h11/__init__.py"} <= set(paths)


def test_components_are_named_by_package_urls() -> None:
    (found,) = dependencies.components(["uvicorn"])
    assert found.purl == f"pkg:pypi/uvicorn@{metadata.version('uvicorn')}"
