"""What the tuner exchanges with whoever builds and runs candidates: plain frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from metasched.search.problem import AbstractStructure, Ints
from metasched.trace.trace import Trace


class Outcome(StrEnum):
    """How a candidate ended, as far as the search cares."""

    OK = "ok"
    FAILED = "failed"
    """It does not build, crashes, hangs or is wrong: the model learns that it is bad."""
    DUPLICATE = "duplicate"
    """Another candidate gave the same program: it is not proposed again, nothing is learned."""
    LOST = "lost"
    """Nothing is known (a worker died): it may be proposed again, once."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A proposal to be built and run.

    Attributes:
        id: Counts up from 0 within one tuner.
        structure: The structure it belongs to.
        row: Its decisions, ``(sites,)``.
        trace: The schedule with all decisions filled in, before postprocessing.
        origin: Where it came from: "best", "explore", "random", "replay" or "exhaustive".
        predicted_log_s: What the model expects, log-seconds.
    """

    id: int
    structure: AbstractStructure
    row: Ints
    trace: Trace
    origin: str
    predicted_log_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a candidate.

    Attributes:
        id: The candidate's id.
        outcome: How it ended.
        time_s: Measured seconds; required for `Outcome.OK`, None otherwise.
    """

    id: int
    outcome: Outcome
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """An earlier measurement of the same program on the same target, for a warm start.

    Attributes:
        trace: Its schedule before postprocessing.
        time_s: Measured seconds, None when it failed.
    """

    trace: Trace
    time_s: float | None
