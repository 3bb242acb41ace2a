"""verify_gpu_code: no kernel takes more than the GPU has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from metasched.analysis.kernel_limits import needs
from metasched.analysis.kernels import kernels
from metasched.ir.expr import int_value
from metasched.ir.simplify import simplify
from metasched.schedule.schedule import Schedule
from metasched.space.postprocs.postproc import POSTPROCS, AbstractPostproc, Rejected
from metasched.target import Target


@final
@dataclass(frozen=True, slots=True)
class VerifyGpuCode(AbstractPostproc):
    """Reject candidates with too many threads, or too much shared memory or registers."""

    name: ClassVar[str] = "verify_gpu_code"

    def apply(self, schedule: Schedule, target: Target) -> Schedule | Rejected:
        """Compare what each kernel takes with the limits of the target, if it has any."""
        if target.gpu is None:
            return schedule
        for kernel in kernels(schedule.program):
            for need in needs(kernel, target.gpu):
                amount = int_value(simplify(need.amount))
                if amount is not None and amount > need.most:
                    return Rejected(self.name, f"more {need.what} than the GPU has")
        return schedule


POSTPROCS.register(VerifyGpuCode.name, VerifyGpuCode)
