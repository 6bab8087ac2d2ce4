"""What goes wrong with Debian packages, told by stand-ins for apt's programs."""

from pathlib import Path

import pytest

from setpoint.errors import Invalid, Unavailable
from setpoint.packaging.debian import PYTHON, debian
from setpoint.packaging.workshop import Workshop

DEPENDS = f"""#!/bin/sh
echo {PYTHON}-minimal
echo '  PreDepends: libc6'
echo '  Depends: libexpat1'
echo ' |Depends: debconf'
echo '  Depends: <debconf-2.0>'
echo libexpat1
echo libc6
"""
ZEROS = "0" * 64
PRINTS = f"""#!/bin/sh
case "$2" in
  --print-uris) echo "'http://host.example/p' {PYTHON}_1%3a2+b1_amd64.deb 9 SHA256:{ZEROS}";;
  *) echo 'E: Failed to fetch the file  Could not resolve a name' >&2; exit 100;;
esac
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop on a machine whose programs are those in ``bin``."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Workshop(tmp_path / "kept", tmp_path / "own")


def program(folder: Path, name: str, text: str) -> None:
    (folder / "bin" / name).write_text(text)
    (folder / "bin" / name).chmod(0o755)


def test_a_system_with_another_python_is_told_to_name_a_base(
    tmp_path: Path, shop: Workshop
) -> None:
    for name in ("apt-get", "dpkg-deb", "apt-cache"):
        program(tmp_path, name, "#!/bin/sh\necho 'E: No packages found' >&2\nexit 100\n")
    with pytest.raises(Unavailable, match=f"apt has no {PYTHON}") as told:
        debian(shop, lambda _: None)
    assert told.value.where == "No packages found"
    assert "--base" in told.value.hint


def test_a_mirror_that_is_away_is_one_clear_error(tmp_path: Path, shop: Workshop) -> None:
    program(tmp_path, "apt-cache", DEPENDS)
    program(tmp_path, "apt-get", PRINTS)
    program(tmp_path, "dpkg-deb", "#!/bin/sh\n")
    said: list[str] = []
    with pytest.raises(Unavailable, match="could not be downloaded") as told:
        debian(shop, said.append)
    assert "Could not resolve a name" in told.value.where
    assert said == ["downloading 1 Debian packages for the base"]
    assert not list((tmp_path / "kept").rglob("*.json"))


def test_a_system_without_apt_is_told_to_name_a_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Invalid, match="no Debian packages"):
        debian(Workshop(tmp_path, tmp_path), lambda _: None)
