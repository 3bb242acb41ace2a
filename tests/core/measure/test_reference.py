from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metasched.errors import MeasureError
from metasched.measure.inputs import make_arguments
from metasched.measure.reference import References, expected_path
from tests.core.measure import kernels

pytestmark = pytest.mark.cc


def test_expected_outputs_are_computed_once_for_each_seed(tmp_path: Path) -> None:
    artefact = kernels.compile_kernel(tmp_path, kernels.DOUBLE)
    references = References(str(tmp_path))
    (got,) = references.expected(artefact, kernels.ARGS, seed=5)
    np.testing.assert_array_equal(got, 2 * make_arguments(kernels.ARGS, 5)[0].array)
    assert expected_path(str(tmp_path), artefact, 5).exists()
    assert not expected_path(str(tmp_path), artefact, 6).exists()

    # Neither this worker nor a respawned one needs the library any more.
    gone = replace(artefact, path="/gone.so")
    for each in (references, References(str(tmp_path))):
        np.testing.assert_array_equal(each.expected(gone, kernels.ARGS, 5)[0], got)
    with pytest.raises(MeasureError, match="cannot load"):
        References(str(tmp_path)).expected(gone, kernels.ARGS, 6)


def test_a_reference_that_killed_a_runner_is_not_run_again(tmp_path: Path) -> None:
    artefact = kernels.compile_kernel(tmp_path, kernels.DOUBLE)
    started = expected_path(str(tmp_path), artefact, 0).with_suffix(".started")
    started.parent.mkdir()
    started.write_text("4194305")  # above every process id
    with pytest.raises(MeasureError, match="crashed or took too long in an earlier run"):
        References(str(tmp_path)).expected(artefact, kernels.ARGS, 0)
    started.write_text(str(os.getpid()))
    assert References(str(tmp_path)).expected(artefact, kernels.ARGS, 0)


def test_other_parameters_are_refused(tmp_path: Path) -> None:
    artefact = kernels.compile_kernel(tmp_path, kernels.DOUBLE)
    with pytest.raises(MeasureError, match="the reference has parameters"):
        References(str(tmp_path)).expected(artefact, kernels.ARGS[:1], 0)
