"""What tuning itself costs: ``python -m tests.bench.bench_tuning [--trials N] [CASE...]``.

For each case of the suite: wall clock, the share of it that proposing takes, and the resident
memory of the tuning process at a quarter, half and the end of the trials. Each case runs in a
process of its own, so that none inherits the memory of another.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

CASES = ("GMM-128", "GMM-512", "C2D", "CBR", "DEP", "SFM")


def one(case: str, trials: int) -> str:
    """Tune a case in this process; the line of the table."""
    from metasched.task import Progress
    from metasched.testing import suite
    from metasched.tuning import TuneResult, tune

    memory: dict[int, float] = {}

    def observe(progress: Progress) -> None:
        memory[progress.trials] = resident_mib()

    result = tune(suite.program(case), trials=trials, progress=observe)
    assert isinstance(result, TuneResult)
    share = result.phases["propose"] / result.seconds
    at = [memory[min(memory, key=lambda t: abs(t - trials * part))] for part in (0.25, 0.5, 1.0)]
    held = "  ".join(f"{mib:6.0f}" for mib in at)
    failed = sum(result.failures.values())
    return (
        f"{case:9} {trials:6} {result.seconds:8.1f}  {100 * share:8.1f}  {held}  {failed:6}  "
        f"{1e6 * (result.best_s or 0.0):10.2f}"
    )


def resident_mib() -> float:
    """Resident memory of this process in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("cases", nargs="*", default=CASES)
    given = parser.parse_args()
    if given.here:
        print(one(given.cases[0], given.trials))
        return
    print("case      trials  wall s  propose %   MiB 1/4     1/2     end  failed     best us")
    for case in given.cases:
        command = [sys.executable, "-m", __spec__.name, "--here", "--trials", str(given.trials)]
        subprocess.run([*command, case], check=True)


if __name__ == "__main__":
    main()
