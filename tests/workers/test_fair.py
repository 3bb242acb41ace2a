"""Whose turn it is: priorities, shares, and no saved-up time."""

from __future__ import annotations

from collections import Counter

from metasched_workers.fair import FairQueue


def served(queue: FairQueue[str], turns: int, seconds: dict[str, float]) -> Counter[str]:
    """The time that each job gets when one item is done after the other."""
    used = Counter[str]()
    for _ in range(turns):
        turn = queue.pop()
        assert turn is not None
        queue.charge(turn, seconds[turn.job])
        used[turn.job] += round(1000 * seconds[turn.job])
    return used


def filled(*jobs: tuple[str, int, float], items: int = 1000) -> FairQueue[str]:
    queue = FairQueue[str]()
    for job, priority, share in jobs:
        queue.open(job, priority, share)
        for _ in range(items):
            queue.push(job, job)
    return queue


def test_time_is_shared_whatever_an_item_takes() -> None:
    queue = filled(("short", 0, 1.0), ("long", 0, 1.0))
    used = served(queue, 600, {"short": 0.01, "long": 0.1})
    assert abs(used["short"] / used["long"] - 1) < 0.05


def test_shares_are_kept() -> None:
    queue = filled(("one", 0, 1.0), ("three", 0, 3.0))
    used = served(queue, 800, {"one": 0.1, "three": 0.1})
    assert abs(used["three"] / used["one"] - 3) < 0.1


def test_a_higher_priority_goes_first_always() -> None:
    queue = filled(("low", 0, 100.0), ("high", 1, 0.1), items=10)
    assert served(queue, 10, {"low": 0.1, "high": 9.0}) == {"high": 90000}


def test_a_job_that_paused_has_saved_nothing_up() -> None:
    queue = filled(("steady", 0, 1.0))
    queue.open("guest", 0, 1.0)
    served(queue, 100, {"steady": 0.1})
    for _ in range(100):
        queue.push("guest", "guest")
    used = served(queue, 100, {"steady": 0.1, "guest": 0.1})
    assert abs(used["guest"] - used["steady"]) <= 200


def test_closing_a_job_returns_what_waits() -> None:
    queue = filled(("a", 0, 1.0), ("b", 0, 1.0), items=2)
    assert queue.close("a") == ["a", "a"]
    assert queue.close("a") == []
    assert len(queue) == 2
    assert queue.take(lambda item: item == "b") == ["b", "b"]
    assert queue.pop() is None
