"""Runs one case: tunes it, prepares every entrant, compares their outputs, times them in turns.

Entrants take turns within each round, in an order that rotates, so that drift of the machine
meets all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

import numpy as np

from metasched.analysis.flops import flops
from metasched.build import arg_specs
from metasched.cli.bench.entrants import OWN, Entrant
from metasched.cli.bench.peer import Peer, PeerError
from metasched.cli.bench.peers.serve import make_inputs
from metasched.cli.bench.results import CaseResult, Side
from metasched.ir.stmt import Program
from metasched.measure.check import compare_outputs
from metasched.measure.records import ArgSpec
from metasched.target import Target
from metasched.testing.numpy_reference import Array, reference
from metasched.tuning import TuneResult

_SAMPLE_S: Final = 0.04
"""Seconds that an entrant is timed for in its turn, at least."""

_WARM_SHARE: Final = 4
"""A turn begins with one call for so many timed ones: cores and threads that have rested are slow
for some milliseconds."""

_REST_S: Final = 0.03
"""Pause between turns: the threads of BLAS and OpenMP libraries spin for some 20 ms after a call,
which the next entrant would have to share its cores with."""

Step: TypeAlias = Callable[[Mapping[Peer, Side]], list[Side]]
"""Something done with all entrants that are still in the contest."""

_MAX_CALLS: Final = 1 << 20
_GRACE_S: Final = 180.0
"""What an entrant gets on top of its tuning time: imports, the batch it is in, compiling."""


@dataclass(frozen=True, slots=True)
class Case:
    """One operator at one shape."""

    name: str
    op: str
    arguments: Mapping[str, Any]
    program: Program

    def args(self) -> tuple[ArgSpec, ...]:
        """The parameters of the program."""
        return arg_specs(self.program)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a bench is run.

    Attributes:
        trials: candidates of each tuner.
        rounds: turns of each entrant.
        seconds: when other tuners begin no further batch; None for no limit.
        seed: of the inputs and the searches.
        database: URL that metasched's kernels are looked up in.
        peak_flops: float32 operations a second of the machine; None where unknown.
    """

    trials: int
    rounds: int
    seconds: float | None
    seed: int
    database: str
    peak_flops: float | None


def run_case(
    case: Case,
    entrants: Sequence[Entrant],
    target: Target,
    settings: Settings,
    tuned: TuneResult | None,
) -> CaseResult:
    """Prepare, check and time every entrant that has the operator.

    Args:
        case: the case.
        entrants: metasched first.
        target: this machine.
        settings: of the bench.
        tuned: what tuning the case came to; None where it was not tuned now.
    """
    sides: dict[str, Side] = {}
    with ExitStack() as stack, TemporaryDirectory(prefix="metasched-") as folder:
        peers: list[Peer] = []
        for entrant in entrants:
            if entrant.takes(case.op):
                peers.append(stack.enter_context(entrant.start(target.cores)))
                sides[entrant.name] = Side(entrant.name)
        steps: tuple[Step, ...] = (
            _each(lambda peer, side: _prepare(peer, side, case, target, settings)),
            _each(_checker(case, settings.seed, folder)),
            lambda ready: take_turns(ready, settings.rounds),
        )
        for step in steps:
            ready = {peer: sides[peer.name] for peer in peers if not sides[peer.name].error}
            sides |= {side.name: side for side in step(ready)}
    if tuned is not None and tuned.measured:
        sides[OWN] = replace(sides[OWN], tuning_s=tuned.seconds)
    return CaseResult(
        name=case.name,
        flops=flops(case.program),
        peak_flops=settings.peak_flops,
        sides=tuple(sides.values()),
        measured=tuned.measured if tuned else 0,
        failures=tuple(tuned.failures.items()) if tuned else (),
        baseline_s=tuned.baseline_s if tuned else None,
    )


def take_turns(sides: Mapping[Peer, Side], rounds: int) -> list[Side]:
    """Time entrants in turns; one that fails on the way keeps no figure."""
    done = dict(sides)
    calls: dict[Peer, int] = {}
    samples: dict[Peer, list[float]] = {peer: [] for peer in sides}
    for turn in range(rounds):
        going = [peer for peer, side in done.items() if not side.error]
        first = turn % max(1, len(going))
        for peer in (*going[first:], *going[:first]):
            time.sleep(_REST_S)
            try:
                calls[peer] = calls.get(peer) or _calls_for(peer)
                answer = peer.ask(do="time", calls=calls[peer], warm=calls[peer] // _WARM_SHARE)
            except PeerError as error:
                done[peer] = replace(done[peer], error=str(error))
            else:
                samples[peer].append(answer["seconds"] / calls[peer])
    return [
        side if side.error else replace(side, samples_s=tuple(samples[peer]))
        for peer, side in done.items()
    ]


def _calls_for(peer: Peer) -> int:
    """How many calls a turn needs to last long enough; the first call also warms up."""
    calls = 1
    peer.ask(do="time", calls=calls, warm=0)
    while calls < _MAX_CALLS:
        elapsed_s = peer.ask(do="time", calls=calls, warm=0)["seconds"]
        if elapsed_s >= _SAMPLE_S:
            break
        calls = min(_MAX_CALLS, max(2 * calls, int(calls * 1.2 * _SAMPLE_S / max(elapsed_s, 1e-7))))
    return calls


def _each(step: Callable[[Peer, Side], Side]) -> Step:
    """The step for all entrants, in which a failure is only that entrant's."""

    def attempt(peer: Peer, side: Side) -> Side:
        try:
            return step(peer, side)
        except PeerError as error:
            return replace(side, error=str(error))

    return lambda sides: [attempt(peer, side) for peer, side in sides.items()]


def _prepare(peer: Peer, side: Side, case: Case, target: Target, settings: Settings) -> Side:
    limit_s = 3600.0 if settings.seconds is None else 2 * settings.seconds + _GRACE_S
    answer = peer.ask(
        limit_s,
        do="prepare",
        op=case.op,
        arguments=dict(case.arguments),
        inputs=_inputs(case),
        seed=settings.seed,
        trials=settings.trials,
        seconds=settings.seconds,
        cores=target.cores,
        database=settings.database,
    )
    return replace(side, about=answer["about"], tuning_s=answer["tuning_s"])


def _checker(case: Case, seed: int, folder: str) -> Callable[[Peer, Side], Side]:
    """Compares outputs with NumPy's in double precision."""
    (spec,) = (arg for arg in case.args() if arg.is_output)

    @cache
    def expected() -> Array:
        arrays = [array.astype(np.float64) for array in make_inputs(_inputs(case), seed)]
        return reference(case.op, case.arguments)(*arrays)

    def check(peer: Peer, side: Side) -> Side:
        path = Path(folder, f"{peer.name}.npy")
        peer.ask(do="save", path=str(path))
        verdict = compare_outputs((spec,), (np.load(path),), (expected(),))
        return replace(side, max_error=verdict.max_error, error=verdict.problem)

    return check


def _inputs(case: Case) -> list[dict[str, Any]]:
    return [
        {"shape": list(arg.shape), "dtype": arg.dtype} for arg in case.args() if not arg.is_output
    ]
