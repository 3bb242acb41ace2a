"""A tiled matrix product in Triton with its autotuner, for comparison."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

_TILES = [
    (128, 256, 64, 8, 3),
    (256, 128, 64, 8, 3),
    (128, 128, 64, 4, 4),
    (128, 128, 64, 8, 3),
    (128, 128, 32, 4, 4),
    (128, 64, 32, 4, 4),
    (64, 128, 32, 4, 4),
    (64, 64, 64, 4, 4),
]
_CONFIGS = [
    triton.Config({"BM": m, "BN": n, "BK": k, "GROUP": 8}, num_warps=warps, num_stages=stages)
    for m, n, k, warps, stages in _TILES
]


@triton.autotune(configs=_CONFIGS, key=["M", "N", "K"])
@triton.jit
def _kernel(
    a, b, c, M, N, K, EXACT: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    number = tl.program_id(0)
    rows, columns = tl.cdiv(M, BM), tl.cdiv(N, BN)
    band = number // (GROUP * columns)
    first = band * GROUP
    height = min(rows - first, GROUP)
    row = first + (number % (GROUP * columns)) % height
    column = (number % (GROUP * columns)) // height
    i = row * BM + tl.arange(0, BM)
    j = column * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        x = tl.load(a + i[:, None] * K + (start + k)[None, :])
        y = tl.load(b + (start + k)[:, None] * N + j[None, :])
        total = tl.dot(x, y, total, input_precision="ieee" if EXACT else "tf32")
    tl.store(c + i[:, None] * N + j[None, :], total.to(c.dtype.element_ty))


def matmul(a: Any, b: Any, c: Any) -> Any:
    """``c = a @ b`` for sizes that all tiles divide; float32 without tf32."""
    m, k = a.shape
    n = b.shape[1]
    _kernel[lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)](
        a, b, c, m, n, k, EXACT=a.dtype == torch.float32
    )
    return c
