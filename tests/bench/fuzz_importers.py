"""Fuzzes the importers: `fuzz_importers.py SECONDS CORPUS [NAME ...]`.

CORPUS is a folder for the files that reach new code; a later run goes on from them.

With atheris installed (`pip install atheris`) each is fuzzed with coverage as the guide, in a
process of its own; without it, by random changes of good files. With `--hypothesis` in front of
SECONDS, hypothesis exchanges values inside of good files. A finding ends the run with the input in
a file or in the message.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import time
from pathlib import Path


def by_chance(name: str, seconds: float) -> None:
    """Change good files at random."""
    from metasched.testing.importer_fuzz import CHECKS, SEEDS, mutated

    end, rng = time.monotonic() + seconds, random.Random()
    runs = imported = 0
    longest_s = 0.0
    while time.monotonic() < end:
        seed = rng.getrandbits(64)
        data = mutated(SEEDS[name](), seed, rng.choice((1, 1, 2, 4, 16)))
        start = time.monotonic()
        try:
            imported += CHECKS[name](data)
        except BaseException:
            Path(f"finding-{name}").write_bytes(data)
            print(f"{name}: finding of seed {seed} in finding-{name}", flush=True)
            raise
        longest_s = max(longest_s, time.monotonic() - start)
        runs += 1
    print(f"{name}: {runs} files, {imported} imported, the slowest took {longest_s:.2f} s")


def by_hypothesis(name: str, seconds: float) -> None:
    """Exchange values, or bytes where the file is no JSON, until the time is over."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from metasched.testing.importer_fuzz import CHECKS, SEEDS, mutated
    from tests.core.database.test_fuzz import JSON, with_value

    binary = name == "snapshot"
    end, runs = time.monotonic() + seconds, 0

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=HealthCheck)
    @given(value=st.integers(1, 16) if binary else JSON, at=st.integers(0, 2**40))
    def check(value: object, at: int) -> None:
        nonlocal runs
        runs += 1
        seed = SEEDS[name]()
        CHECKS[name](mutated(seed, at, int(str(value))) if binary else with_value(seed, value, at))

    while time.monotonic() < end:
        check()
    print(f"{name}: {runs} files by hypothesis", flush=True)


def by_coverage(name: str, seconds: float, corpus: Path) -> None:
    """Let atheris look for files that reach new code."""
    import atheris

    with atheris.instrument_imports(include=["metasched.database", "metasched.interchange"]):
        from metasched.testing.importer_fuzz import CHECKS, SEEDS

    (corpus / "seed").write_bytes(SEEDS[name]())
    options = [f"-max_total_time={seconds:.0f}", "-timeout=20", "-max_len=8192", "-verbosity=0"]
    arguments = [sys.argv[0], *options, "-print_final_stats=1", str(corpus)]
    atheris.Setup(arguments, lambda data: (CHECKS[name](data), 0)[1])
    atheris.Fuzz()


def main(seconds: float, folder: Path, names: list[str]) -> None:
    """Fuzz each importer in turn."""
    from metasched.testing.importer_fuzz import CHECKS

    guided = importlib.util.find_spec("atheris") is not None
    for name in names or CHECKS:
        if not guided:
            by_chance(name, seconds)
            continue
        corpus = folder / name
        corpus.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, __file__, "--guided", str(seconds), str(corpus), name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        stats = [line for line in done.stderr.splitlines() if line.startswith("stat::")]
        print(f"{name}: status {done.returncode}, {', '.join(stats[:2])}", flush=True)
        if done.returncode:
            sys.exit(done.stderr[-4000:])


if __name__ == "__main__":
    if sys.argv[1] == "--hypothesis":
        from metasched.testing.importer_fuzz import CHECKS

        for one in sys.argv[4:] or CHECKS:
            by_hypothesis(one, float(sys.argv[2]))
    elif sys.argv[1] == "--guided":
        by_coverage(sys.argv[4], float(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
