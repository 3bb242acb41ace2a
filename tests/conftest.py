"""Fixtures that every test folder uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the texts that golden tests compare with instead of comparing",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Compare a text with ``tests/golden/<folder>_<module>/<test>.txt``."""
    parts = request.node.nodeid.split("::")
    module = Path(parts[0])
    folder = GOLDEN / f"{module.parent.name}_{module.stem.removeprefix('test_')}"
    name = parts[-1].removeprefix("test_").replace("/", "_").replace("[", "-").replace("]", "")
    path = folder / f"{name}.txt"

    def compare(text: str) -> None:
        if request.config.getoption("--update-golden"):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text.rstrip("\n") + "\n")
            return
        assert path.exists(), f"no golden text {path.name}; run pytest --update-golden to write it"
        assert text.rstrip("\n") + "\n" == path.read_text()

    return compare
