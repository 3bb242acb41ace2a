from __future__ import annotations

from metasched.measure.kept import Kept


def test_the_longest_unused_value_goes_first() -> None:
    kept = Kept[str](4, len)
    made: list[str] = []

    def get(key: str) -> str:
        def make() -> str:
            made.append(key)
            return key * 2

        return kept.get(key, make)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert get(key) == key * 2
    assert made == ["a", "b", "c", "b"]


def test_a_value_beyond_the_limit_is_kept_until_the_next() -> None:
    kept = Kept[str](1, len)
    assert kept.get("a", lambda: "long") == "long"
    assert kept.get("a", lambda: "other") == "long"
    assert kept.get("b", lambda: "b") == "b"
    assert kept.get("a", lambda: "other") == "other"


def test_values_can_be_dropped() -> None:
    kept = Kept[str](9, len)
    kept.drop("a")
    kept.get("a", lambda: "one")
    kept.drop("a")
    assert kept.get("a", lambda: "two") == "two"
