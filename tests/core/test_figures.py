import doctest

import pytest

from metasched import figures


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(figures).failed == 0


@pytest.mark.parametrize(
    ("time_s", "text"),
    [(None, "-"), (1e-9, "0.001000"), (2.6e-6, "2.600"), (1.2e-4, "120.0"), (0.5, "500000")],
)
def test_microseconds_keep_four_digits(time_s: float | None, text: str) -> None:
    assert figures.microseconds(time_s) == text


def test_a_rate_of_no_time_is_no_figure() -> None:
    assert figures.gflops(1e9, 0.0) == figures.NOTHING
    assert figures.gflops(1e9, None) == figures.NOTHING


def test_a_table_without_rows_is_its_header() -> None:
    assert figures.table(("a", "bb"), []) == "a  bb"
