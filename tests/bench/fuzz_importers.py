"""Fuzzes the importers: `fuzz_importers.py SECONDS CORPUS [NAME ...]`.

CORPUS is a folder for the files that reach new code; a later run goes on from them.

With atheris installed (`pip install atheris`) each is fuzzed with coverage as the guide, in a
process of its own; without it, by random changes of good files. A finding ends the run with the
input in a file.
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
    if sys.argv[1] == "--guided":
        by_coverage(sys.argv[4], float(sys.argv[2]), Path(sys.argv[3]))
    else:
        main(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
