"""Fixtures that every test folder uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("soak", max_examples=800, deadline=None, print_blob=True)

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write the texts that golden tests compare with instead of comparing",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--update-golden") and os.environ.get("CI"):
        raise pytest.UsageError("--update-golden is refused in CI; a person reads what changed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a compiler where there is none."""
    needing = [item for item in items if item.get_closest_marker("cc")]
    if not needing:
        return
    from metasched.target.toolchain import describe_toolchain

    if describe_toolchain() == "none":
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no C compiler"))


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
