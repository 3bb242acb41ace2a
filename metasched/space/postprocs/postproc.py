"""What a postprocessor is, the registry of them, and `postprocess`, which runs a list of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from metasched.errors import ScheduleError
from metasched.registry import Registry
from metasched.schedule.schedule import Schedule
from metasched.target import Target


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that is not worth building.

    Attributes:
        postproc: name of the postprocessor that rejected it.
        reason: one line that can be counted.
    """

    postproc: str
    reason: str


class AbstractPostproc(ABC):
    """Finishes a candidate once all its decisions are taken, or rejects it.

    A member is a frozen dataclass whose fields are its options. It is called in the tuning process
    once for each candidate that is to be measured. All its steps are traced primitives, so the
    trace of a finished candidate replays without postprocessors. Nothing may be kept between calls.
    """

    name: ClassVar[str]

    @abstractmethod
    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Change the schedule and return it, or say why the candidate is rejected."""


POSTPROCS = Registry[type[AbstractPostproc]]("postprocessor")


def postprocess(
    schedule: Schedule, postprocs: Sequence[AbstractPostproc], target: Target
) -> Schedule | Rejected:
    """Run postprocessors on a copy of a schedule, after `enter_postproc`.

    A primitive that is refused rejects the candidate; the reason names the rule it breaks.
    """
    result = schedule.copy()
    result.enter_postproc()
    for postproc in postprocs:
        try:
            answer = postproc.apply(result, target)
        except ScheduleError as error:
            return Rejected(postproc.name, str(error).splitlines()[0])
        if isinstance(answer, Rejected):
            return answer
        result = answer
    return result
