"""Checks a wheel and its installation: three top-level names, and no bare `workers` or `db`."""

import importlib.util
import sys
import zipfile

NAMES = {"metasched", "metasched_db", "metasched_workers"}


def main(wheel: str) -> None:
    """Compare the names in the wheel and those that can be imported with what is meant."""
    held = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    held = {name for name in held if not name.endswith(".dist-info")}
    assert held == NAMES, f"the wheel holds {sorted(held)}, expected {sorted(NAMES)}"
    for name in NAMES:
        spec = importlib.util.find_spec(name)
        origin = "" if spec is None else str(spec.origin)
        assert "site-packages" in origin, f"{name} is at {origin or 'no place'}"
    for name in ("workers", "db", "tests"):
        assert importlib.util.find_spec(name) is None, (
            f"`import {name}` works outside the repository"
        )
    print(f"{wheel.rsplit('/', 1)[-1]} holds {', '.join(sorted(held))}")


if __name__ == "__main__":
    main(sys.argv[1])
