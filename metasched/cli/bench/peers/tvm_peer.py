"""TVM MetaSchedule as an entrant, given a fair run.

Its defaults are kept (evolutionary search, boosted trees, 64 trials an iteration) but for two
things that would only make it look slow: its runtime gets all cores instead of half of them (the
caller sets TVM_NUM_THREADS), and its build workers do without the import of the tensor intrinsics
of every kind of hardware, which they repeat for each batch.
"""

# pyright: basic, reportMissingImports=false, reportMissingModuleSource=false

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
import time
import types
from typing import Any

import numpy as np
import serve
import tvm
import tvm.s_tir
from tvm import te

_BUILD = "metasched.peer.build"


class TvmEntrant:
    """A kernel tuned by MetaSchedule, called through TVM's own timer."""

    def prepare(self, request: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
        """Tune, build the best and load it."""
        _import_x86_intrinsics_only()
        from tvm_operators import define

        cores = request["cores"]
        self._target = tvm.target.Target(
            {"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu(), "num-cores": cores}
        )
        parameters = define(request["op"], request["arguments"])
        function = te.create_prim_func(parameters)
        shape = tuple(int(size) for size in parameters[-1].shape)
        begin = time.perf_counter()
        best, measured = tune(function, self._target, request)
        tuning_s = time.perf_counter() - begin
        self._device = tvm.cpu(0)
        arrays = [*inputs, np.zeros(shape, np.float32)]
        self._tensors = [tvm.runtime.tensor(array, device=self._device) for array in arrays]
        self._library = build(best, self._target)
        self._library["main"](*self._tensors)
        threads = tvm.get_global_func("runtime.NumThreads")()
        about = f"tvm {tvm.__version__}, {threads} threads, {measured} trials"
        return {"about": about, "tuning_s": tuning_s, "measured": measured}

    def time(self, calls: int) -> float:
        """Seconds of so many calls in a row."""
        module = getattr(self._library, "mod", self._library)
        evaluate = module.time_evaluator("main", self._device, number=calls, repeat=1)
        return float(evaluate(*self._tensors).results[0]) * calls

    def output(self) -> Any:
        """The output."""
        return self._tensors[-1].numpy()


def tune(function: Any, target: Any, request: dict[str, Any]) -> tuple[Any, int]:
    """Search with MetaSchedule.

    Args:
        function: the program.
        target: TVM's target.
        request: holds ``trials``, ``seed``, ``cores`` and ``seconds``, after which no further
            batch is begun (None for no limit).

    Returns:
        The module of the best candidate, and how many were measured.

    Raises:
        LookupError: no candidate ran.
    """
    import tvm.s_tir.meta_schedule as ms

    logging.getLogger("tvm.s_tir.meta_schedule").setLevel(logging.WARNING)
    cores, watch = request["cores"], _watch(request["seconds"])
    builder = ms.builder.LocalBuilder(
        max_workers=cores, f_build=_BUILD, initializer=register_light_build
    )
    callbacks = ms.measure_callback.MeasureCallback.create("default")
    with tempfile.TemporaryDirectory(prefix="metasched-tvm-") as folder:
        try:
            ms.tune_tir(
                mod=function,
                target=target,
                work_dir=folder,
                max_trials_global=request["trials"],
                seed=request["seed"],
                num_tuning_cores=cores,
                builder=builder,
                measure_callbacks=[*callbacks, watch],
            )
        except Exception:
            # The watch ends a search that is over its time with an exception of its own.
            if not STATE["over"]:
                raise
    if STATE["best"] is None:
        raise LookupError(f"TVM found no schedule that runs in {STATE['measured']} trials")
    return STATE["best"], STATE["measured"]


STATE: dict[str, Any] = {"best": None, "best_s": float("inf"), "measured": 0, "over": False}
"""What the watch saw; a callback object is copied by TVM, so it cannot keep it itself."""


def _watch(seconds: float | None) -> Any:
    """A callback that remembers the best candidate and ends a search that is over its time."""
    from tvm.ir.utils import derived_object
    from tvm.s_tir.meta_schedule.measure_callback import PyMeasureCallback

    begin = time.perf_counter()

    @derived_object
    class Watch(PyMeasureCallback):
        def apply(self, scheduler, task_id, candidates, builder_results, runner_results):
            for candidate, result in zip(candidates, runner_results, strict=True):
                STATE["measured"] += 1
                if result is None or result.error_msg or not result.run_secs:
                    continue
                times = [float(value) for value in result.run_secs]
                mean = sum(times) / len(times)
                if mean < STATE["best_s"]:
                    STATE.update(best_s=mean, best=candidate.sch.mod)
            if seconds is not None and time.perf_counter() - begin > seconds:
                STATE["over"] = True
                raise TimeoutError(f"the search ran for {seconds} s")

    return Watch()


def build(module: Any, target: Any) -> Any:
    """Compile a scheduled module as TVM's builder does."""
    from tvm.driver import build as compile_module
    from tvm.s_tir.transform import RemoveWeightLayoutRewriteBlock

    return compile_module(
        RemoveWeightLayoutRewriteBlock(skip_tensor_rewrite=True)(module), target=target
    )


def register_light_build() -> None:
    """Register `build` inside a build worker, under the name that the builder is given."""
    tvm.register_global_func(_BUILD, lambda module, target, _: build(module, target), override=True)


def _import_x86_intrinsics_only() -> None:
    """Stand in for the package of all tensor intrinsics with its part for x86."""
    name = "tvm.s_tir.tensor_intrin"
    package = types.ModuleType(name)
    package.__path__ = [os.path.join(os.path.dirname(tvm.s_tir.__file__), "tensor_intrin")]
    sys.modules[name] = tvm.s_tir.tensor_intrin = package
    importlib.import_module(f"{name}.x86")


if __name__ == "__main__":
    serve.serve(TvmEntrant())
