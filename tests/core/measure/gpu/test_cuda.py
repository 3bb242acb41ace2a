"""The CUDA runner on a driver that is made up: pycuda and the processes are real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metasched.errors import DeviceError
from metasched.measure.gpu.cuda import load_pycuda
from metasched.target.cuda_device import missing_device
from metasched.target.missing import check_device
from metasched.target.target import Target

_DRIVER = Path(__file__).with_name("fake_cuda.c")
_REPOSITORY = Path(__file__).parents[4]


@pytest.mark.skipif(not missing_device(), reason="there is a device")
def test_without_a_driver_the_reason_is_named() -> None:
    with pytest.raises(DeviceError, match=r"built but not run here: no CUDA driver \(libcuda"):
        check_device(Target("cuda:sm_90"))
    with pytest.raises(DeviceError, match="cannot run here: no CUDA driver"):
        load_pycuda()


def make_driver(folder: Path, pycuda: Path) -> None:
    """Compile the driver; functions that only pycuda's linking needs are there and refuse."""
    (extension,) = pycuda.glob("_driver*.so")
    names = subprocess.run(
        ["nm", "-D", "--undefined-only", str(extension)], capture_output=True, text=True, check=True
    ).stdout.split()
    stubs = folder / "stubs.c"
    weak = "__attribute__((weak)) int {}(void) {{ return 801; }}\n"
    stubs.write_text("".join(weak.format(name) for name in names if name.startswith("cu")))
    library = str(folder / "libcuda.so.1")
    command = ["gcc", "-shared", "-fPIC", "-w", str(_DRIVER), str(stubs), "-o", library]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `rehearse_cuda` prints, run where the made up driver is the system's."""
    pycuda = pytest.importorskip("pycuda")
    folder = tmp_path_factory.mktemp("driver")
    make_driver(folder, Path(pycuda.__file__).parent)
    path = os.pathsep.join(entry for entry in (str(_REPOSITORY), *sys.path) if entry)
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.measure.gpu.rehearse_cuda", str(folder)],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.cc
@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("right", "ok", ""),
        ("much shared memory", "ok", ""),
        ("rotated", "ok", ""),
        ("flushed", "ok", ""),
        ("crash", "run_error", "the kernel failed: .*illegal memory access"),
        ("after a crash", "ok", ""),
        ("hang", "run_timeout", "no answer in 2 s"),
        ("after a hang", "ok", ""),
        ("too many threads", "run_error", "invalid argument"),
        ("no such kernel", "run_error", "cannot load the kernel"),
        ("not a cubin", "run_error", "cannot load the kernel"),
    ],
)
def test_statuses(rehearsed: dict[str, Any], name: str, status: str, message: str) -> None:
    import re

    found = rehearsed[name]
    assert found["status"] == status, found
    assert re.search(message, found["message"])
    if status == "ok":
        assert found["max_error"] == 0.0
        # The driver's clock moves by a millisecond a launch.
        assert found["samples_s"] == pytest.approx([1e-3] * len(found["samples_s"]))


@pytest.mark.cc
def test_the_loader_of_the_docs_runs_what_is_exported(rehearsed: dict[str, Any]) -> None:
    name, shape, total = rehearsed["exported"].split(" ", 1)[0], "(1000,)", rehearsed["sum"]
    assert name == "b"
    assert shape in rehearsed["exported"]
    assert float(rehearsed["exported"].split()[-1]) == pytest.approx(total)


@pytest.mark.cc
def test_a_kernel_is_called_with_arrays(rehearsed: dict[str, Any]) -> None:
    assert rehearsed["called"] == {"host": True, "device": True, "bound": True, "time_s": 1e-3}
