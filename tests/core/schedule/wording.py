"""How the *Requires* lines of primitives become the names of their tests."""

from __future__ import annotations

import re

from metasched.schedule.reference import documented, requirements


def bare_slug(text: str) -> str:
    """A line as part of a test's name, without what is in brackets.

    >>> bare_slug("the block's own (or another) loop of extent 1")
    'the_blocks_own_loop_of_extent_1'
    """
    plain = re.sub(r"\(.*?\)", "", text).replace("'", "").lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def is_named(test: str, slug: str) -> bool:
    """Whether a test's name begins as a line does; forty letters are enough of a long one."""
    return test.startswith(f"test_requires_{slug[:40]}")


def requirement_slugs(kind: str) -> list[str]:
    """The *Requires* lines of a primitive as parts of test names."""
    return [bare_slug(line) for line in requirements(kind)] if documented(kind) else []


def refused_rule(message: str) -> tuple[str, str]:
    """The primitive and what it expected, from the message of a refusal."""
    kind, _, rest = message.partition(": expected ")
    return kind, rest.partition(", got ")[0]
