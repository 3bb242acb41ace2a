from __future__ import annotations

import pytest

from metasched.errors import UsageError
from metasched.testing.suite import SMALL, SUITE, nominal, small

PUBLISHED = {
    "GMM-128": (4194304, 196608),
    "GMM-512": (268435456, 3145728),
    "GMM-1024": (2147483648, 12582912),
    "C1D": (6291456, 229376),
    "C2D": (236027904, 3851008),
    "C3D": (13217562624, 35587328),
    "DEP": (7225344, 3212416),
    "DIL": (223552896, 3681280),
    "GRP": (28901376, 1277952),
    "T2D": (67108864, 8486912),
    "CBR": (239239168, 3851776),
    "TBG": (25165824, 1572864),
    "NRM": (131072 + 1, 262148),
    "SFM": (65536 * 5, 524288),
    "DENSE": (604766208, 11415552),
    "QKT": (25165824, 1572864),
}
"""Operations and bytes by hand; NRM with its root, SFM with the subtraction of the maximum."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_nominal_work_is_as_published(name: str) -> None:
    assert nominal(name) == PUBLISHED[name]


def test_every_case_has_a_small_one() -> None:
    assert set(SUITE) == set(SMALL) == set(PUBLISHED)
    assert all(small(name).outputs for name in SUITE)


def test_unknown_case() -> None:
    with pytest.raises(UsageError, match="unknown case 'GMM-'; did you mean 'GMM-"):
        nominal("GMM-")
