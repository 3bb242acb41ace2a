"""Files from anywhere: whatever they hold, an import is whole or an error in one line.

`tests/bench/fuzz_importers.py` runs the same checks for as long as one likes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metasched.testing.importer_fuzz import CHECKS, SEEDS, mutated

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=400))
def test_any_bytes(name: str, data: bytes) -> None:
    CHECKS[name](data)


@pytest.mark.parametrize("name", CHECKS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), count=st.integers(1, 6))
def test_files_with_some_bytes_changed(name: str, seed: int, count: int) -> None:
    CHECKS[name](mutated(SEEDS[name](), seed, count))


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "snapshot"])
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=JSON, at=st.integers(0, 10_000))
def test_files_with_another_value_somewhere(name: str, value: object, at: int) -> None:
    CHECKS[name](with_value(SEEDS[name](), value, at))


def with_value(seed: bytes, value: object, at: int) -> bytes:
    """A file of JSON lines with one of its values exchanged; ``at`` says which."""
    lines = seed.decode().splitlines()
    place = at % len(lines)
    data = json.loads(lines[place])
    lines[place] = json.dumps(_replaced(data, value, at // len(lines)))
    return "\n".join(lines).encode(errors="surrogatepass")


def _replaced(data: object, value: object, at: int) -> object:
    """One of the values inside exchanged; ``at`` says which."""
    if isinstance(data, dict) and data and at % 5:
        keys = list(data)
        key = keys[at % len(keys)]
        return {**data, key: _replaced(data[key], value, at // len(keys))}
    if isinstance(data, list) and data and at % 5:
        place = at % len(data)
        return [*data[:place], _replaced(data[place], value, at // len(data)), *data[place + 1 :]]
    return value


def test_the_seeds_are_good(tmp_path: Path) -> None:
    """What is mutated imports as it is, or mutations would only meet the first check."""
    for name, check in CHECKS.items():
        assert check(SEEDS[name]()) is True, name
