"""Every registered member of every kind passes the contract of its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from metasched.callbacks import MEASURE_CALLBACKS, AbstractMeasureCallback
from metasched.cost.model import COST_MODELS, ModelFactory
from metasched.measure.local import LocalWorkers
from metasched.measure.workers import AbstractWorkers
from metasched.schedule.schedule import Schedule
from metasched.search.budget import TASK_SCHEDULERS, SchedulerFactory
from metasched.search.mutators import MUTATORS, AbstractMutator
from metasched.search.strategies import STRATEGIES, AbstractStrategy, StrategySettings
from metasched.search.strategies.optuna_search import KINDS
from metasched.space.cpu import CPU_INTRINS
from metasched.space.postprocs import POSTPROCS, AbstractPostproc
from metasched.space.postprocs.rewrite_reduction_block import RewriteReductionBlock
from metasched.space.rules import (
    RULES,
    AbstractRule,
    ApplyCustomRule,
    CallFunction,
    MultiLevelTilingWithIntrin,
)
from metasched.target import Target
from metasched.target.intrinsics import TENSOR_INTRINS, TensorIntrin
from metasched.testing.contracts import (
    CostModelContract,
    IntrinsicContract,
    MeasureCallbackContract,
    MutatorContract,
    PostprocContract,
    PrimitiveContract,
    RuleContract,
    StrategyContract,
    TaskSchedulerContract,
    WorkersContract,
)
from metasched.trace.instruction import Ref
from tests.core.space.outline import TARGET

VNNI = replace(TARGET, features=("avx2", "avx512_vnni", "avx512f"))
GPU = Target("cuda:sm_90")


def split_last(schedule: Schedule, block: Ref) -> None:
    loops = schedule.get_loops(block)
    if loops:
        schedule.split(loops[-1], schedule.sample_perfect_tile(loops[-1], 2))


OPTIONS: dict[str, AbstractRule] = {
    "apply_custom_rule": ApplyCustomRule((("c", CallFunction(split_last)),)),
    "call_function": CallFunction(split_last),
    "multi_level_tiling_with_intrin": MultiLevelTilingWithIntrin(CPU_INTRINS),
}
"""Rules that do nothing without options."""


def is_for_gpus(member: type) -> bool:
    marks = ("gpu", "thread", "bind", "cooperative", "unbound", "tensor_core")
    return any(mark in str(member.__dict__.get("name")) for mark in marks)


class TestRules(RuleContract):
    @pytest.fixture(params=list(RULES))
    def rule(self, request: pytest.FixtureRequest) -> AbstractRule:
        return OPTIONS.get(request.param) or RULES[request.param]()

    @pytest.fixture
    def target(self, rule: AbstractRule) -> Target:
        return GPU if is_for_gpus(type(rule)) else VNNI


class TestPostprocs(PostprocContract):
    @pytest.fixture(params=list(POSTPROCS))
    def postproc(self, request: pytest.FixtureRequest) -> AbstractPostproc:
        return POSTPROCS[request.param]()

    @pytest.fixture
    def target(self, postproc: AbstractPostproc) -> Target:
        return GPU if is_for_gpus(type(postproc)) else VNNI

    @pytest.fixture
    def before(self, postproc: AbstractPostproc) -> Sequence[AbstractPostproc]:
        return (RewriteReductionBlock(),) if postproc.name == "rewrite_tensorize" else ()


class TestMutators(MutatorContract):
    @pytest.fixture(params=list(MUTATORS))
    def make(self, request: pytest.FixtureRequest) -> Callable[[], AbstractMutator]:
        return MUTATORS[request.param]


class TestStrategies(StrategyContract):
    @pytest.fixture(params=list(STRATEGIES))
    def make(self, request: pytest.FixtureRequest) -> Callable[[], AbstractStrategy]:
        if request.param in KINDS and KINDS[request.param].package:
            pytest.importorskip(KINDS[request.param].package)
        return lambda: STRATEGIES[request.param](StrategySettings(population=64, trials=24))


@pytest.mark.cc
class TestCostModels(CostModelContract):
    @pytest.fixture(params=list(COST_MODELS))
    def make(self, request: pytest.FixtureRequest) -> ModelFactory:
        return COST_MODELS[request.param]


class TestTaskSchedulers(TaskSchedulerContract):
    @pytest.fixture(params=list(TASK_SCHEDULERS))
    def make(self, request: pytest.FixtureRequest) -> SchedulerFactory:
        return TASK_SCHEDULERS[request.param]


@pytest.mark.cc
class TestMeasureCallbacks(MeasureCallbackContract):
    # The two that every job has are not added twice.
    @pytest.fixture(params=[n for n in MEASURE_CALLBACKS if n == "remove_artefacts"])
    def make(self, request: pytest.FixtureRequest) -> Callable[[], AbstractMeasureCallback]:
        return MEASURE_CALLBACKS[request.param]


class TestIntrinsics(IntrinsicContract):
    @pytest.fixture(params=[n for n in TENSOR_INTRINS if TENSOR_INTRINS[n].features])
    def intrin(self, request: pytest.FixtureRequest) -> TensorIntrin:
        return TENSOR_INTRINS[request.param]


def split_rows(schedule: Schedule, size: int) -> None:
    schedule.split(schedule.get_loops(schedule.get_block("z"))[0], (None, size))


def cache(schedule: Schedule, read: int) -> None:
    schedule.cache_read(schedule.get_block("z"), read, "global")


def inline(schedule: Schedule, block: str) -> None:
    schedule.compute_inline(schedule.get_block(block))


PRIMITIVES: dict[str, tuple[Callable[[Schedule], Any], Callable[[Schedule], Any]]] = {
    "split": (lambda s: split_rows(s, 4), lambda s: split_rows(s, 0)),
    "cache_read": (lambda s: cache(s, 0), lambda s: cache(s, 9)),
    "compute_inline": (lambda s: inline(s, "add_bias"), lambda s: inline(s, "relu")),
}
"""An example of each family; `tests/core/schedule` has tests of every rule of every primitive."""


class TestPrimitives(PrimitiveContract):
    @pytest.fixture(params=list(PRIMITIVES))
    def pair(self, request: pytest.FixtureRequest) -> tuple[Any, Any]:
        return PRIMITIVES[request.param]

    @pytest.fixture
    def legal(self, pair: tuple[Any, Any]) -> Callable[[Schedule], object]:
        return pair[0]

    @pytest.fixture
    def refused(self, pair: tuple[Any, Any]) -> Callable[[Schedule], object]:
        return pair[1]


@pytest.mark.cc
@pytest.mark.slow
class TestLocalWorkers(WorkersContract):
    @pytest.fixture
    def workers(self, target: Target) -> Iterator[AbstractWorkers]:
        with LocalWorkers(target) as workers:
            yield workers
