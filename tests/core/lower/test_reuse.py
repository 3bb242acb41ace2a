from __future__ import annotations

from collections.abc import Callable

from tests.core.lower.programs import after, tiled_matmul

Golden = Callable[[str], None]


def test_shared_operands_are_loaded_once(golden: Golden) -> None:
    golden(after(tiled_matmul((1, 1, 1, 3), (1, 1, 1, 32), (1, 5)), "reuse_loads"))


def test_the_smaller_kind_of_operand_stays_in_registers() -> None:
    """Two rows of many vectors keep the two repeated scalars and pass the vectors."""
    program = tiled_matmul((1, 1, 1, 2), (1, 1, 1, 128), (1, 5))
    text = after(program, "reuse_loads")
    stores = [line.split(" = ")[0].strip() for line in text.splitlines() if "b_t" in line]
    first = next(n for n, s in enumerate(stores) if s.startswith("b_t_1["))
    sums = [s for s in stores[:first] if s.startswith("c_r")]
    assert len(sums) == 2
