"""Features, prior and validity of a population on whatever machine: one front for both models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metasched.analysis.kernels import Kernel
from metasched.analysis.nest import ProgramSummary
from metasched.cost.features import FEATURE_NAMES, FEATURE_VERSION, evaluate_program
from metasched.cost.gpu import GPU_FEATURE_NAMES, GPU_FEATURE_VERSION, evaluate_gpu
from metasched.cost.gpu_machine import GpuMachine
from metasched.cost.machine import AnyMachine
from metasched.cost.model import FeatureLayout
from metasched.cost.numbers import Values
from metasched.target import Target


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What bulk scoring knows of a population of ``n`` candidates.

    Attributes:
        features: ``(n, stores, features)`` float32.
        prior_s: analytic seconds per store, ``(n, stores)`` float64.
        valid: whether a candidate may be built, ``(n,)`` bool.
    """

    features: npt.NDArray[np.float32]
    prior_s: npt.NDArray[np.float64]
    valid: npt.NDArray[np.bool_]


def layout_of(target: Target) -> FeatureLayout:
    """The features of candidates for a target."""
    if target.gpu is not None:
        return FeatureLayout(GPU_FEATURE_NAMES, GPU_FEATURE_VERSION)
    return FeatureLayout(FEATURE_NAMES, FEATURE_VERSION)


def evaluate_candidates(
    summary: ProgramSummary,
    kernels: tuple[Kernel, ...],
    values: Values,
    size: int,
    machine: AnyMachine,
    private: frozenset[str],
) -> Evaluation:
    """Features, prior and validity of a population.

    Args:
        summary: the scheduled program, before postprocessing.
        kernels: its kernels, none on a CPU.
        values: tile sizes and other sampled values, ``(size,)`` each.
        size: how many candidates.
        machine: rates of the target.
        private: names of buffers that are not parameters.
    """
    if isinstance(machine, GpuMachine):
        return Evaluation(*evaluate_gpu(summary, kernels, values, size, machine, private))
    features, prior = evaluate_program(summary, values, size, machine, private)
    return Evaluation(features, prior, np.ones(size, dtype=np.bool_))
