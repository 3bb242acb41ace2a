from __future__ import annotations

from metasched import ops
from metasched.lower import plain
from tests.core.lower.programs import matmul


def test_float32_sums_are_kept_in_float64() -> None:
    text = str(plain(matmul(8, 8, 8)).body)
    assert 'declare((), "float64", scope="register")' in text


def test_float64_sums_need_nothing_wider() -> None:
    assert "register" not in str(plain(matmul(8, 8, 8, "float64")).body)


def test_outer_spatial_loops_share_one_parallel_loop() -> None:
    text = str(plain(ops.batch_matmul(b=1, m=16, n=8, k=4)).body)
    assert "parallel(128)" in text


def test_a_full_reduction_is_not_parallel() -> None:
    assert "parallel" not in str(plain(ops.norm(b=1, m=8, n=8)).body).split("sqrt")[0]


def test_what_another_store_reads_stays_as_it_is() -> None:
    # The index of an argmax is chosen by the running maximum, which must not lag behind.
    assert "wide" not in str(plain(ops.get("argmax")(m=4, n=9)).body)
