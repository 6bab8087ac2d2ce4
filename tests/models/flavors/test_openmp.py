"""LightGBM where the system has no OpenMP runtime."""

import subprocess
import sys

import pytest

#: Hides the system's library from us, then proves by the process's own map of memory that
#: LightGBM was linked to the copy: the system's file was never opened.
MASKED = """
import ctypes, sys
from setpoint.models.flavors import openmp
real = ctypes.CDLL
class Masked(real):
    def __init__(self, name, *args, **kwargs):
        if name == "libgomp.so.1":
            raise OSError(f"{name}: cannot open shared object file")
        super().__init__(name, *args, **kwargs)
ctypes.CDLL = Masked
openmp.provide_openmp()
maps = open("/proc/self/maps").read()
assert "/memfd:libgomp.so.1" in maps, "the bundled library was not loaded"
import lightgbm, numpy
data = lightgbm.Dataset(numpy.arange(200.0).reshape(100, 2), numpy.arange(100) % 2)
lightgbm.train({"verbose": -1, "num_threads": 1}, data, 2)
lines = open("/proc/self/maps").read().splitlines()
for path in sorted({line.split(maxsplit=5)[5] for line in lines if "libgomp" in line}):
    print(path)
"""


def ran(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux wheels expect it")
def test_the_bundled_library_answers_to_the_name_of_the_systems() -> None:
    found = ran(MASKED).splitlines()
    assert any(path.startswith("/memfd:libgomp.so.1") for path in found)
    assert not [path for path in found if path.endswith("/libgomp.so.1.0.0")]


def test_where_the_system_has_it_nothing_of_scikit_learn_is_loaded() -> None:
    script = (
        "from setpoint.models.flavors.openmp import provide_openmp\n"
        "import sys; provide_openmp(); provide_openmp()\n"
        "assert 'sklearn' not in sys.modules"
    )
    ran(script)
