from __future__ import annotations

import os
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from metasched.errors import UsageError
from metasched.target import GpuLimits, Target


def test_cpu_describes_this_host() -> None:
    target = Target("cpu")
    assert target.kind == "cpu"
    assert target.cores <= len(os.sched_getaffinity(0))
    assert target.vector_bits in (128, 256, 512)
    assert target.l1_bytes <= target.l2_bytes
    assert target.features == tuple(sorted(target.features))


def test_fields_can_be_overridden() -> None:
    target = Target("cpu", cores=1, l2_bytes=123456)
    assert (target.cores, target.l2_bytes) == (1, 123456)
    assert target.key() != Target("cpu", cores=2, l2_bytes=123456).key()


def test_features_decide_the_vector_registers_unless_these_are_given() -> None:
    target = Target("cpu", arch="x86_64", features=("fma", "avx2", "fma"))
    assert target.features == ("avx2", "fma")
    assert (target.vector_bits, target.vector_registers) == (256, 16)
    assert Target("cpu", arch="x86_64", features=("avx512f",)).vector_registers == 32
    assert Target("cpu", features=("avx512f",), vector_bits=256).vector_bits == 256


def test_a_target_is_an_immutable_value() -> None:
    target = Target("cpu")
    assert target == Target("cpu")
    assert len({target, Target("cpu"), Target("cpu", cores=77)}) == 2
    assert pickle.loads(pickle.dumps(target)) == target
    assert replace(target, cores=77) == Target("cpu", cores=77)
    with pytest.raises(FrozenInstanceError):
        target.cores = 3  # type: ignore[misc]


def test_dict_round_trip() -> None:
    target = Target("cpu", cores=5, model="made up")
    data = target.to_dict()
    assert Target.from_dict(data) == target
    assert Target.from_dict(data).key() == target.key()


def test_the_key_is_stable_and_ignores_names() -> None:
    fixed = {
        "kind": "cpu",
        "arch": "x86_64",
        "model": "A",
        "features": ["avx2", "fma"],
        "cores": 4,
        "vector_bits": 256,
        "vector_registers": 16,
        "l1_bytes": 32768,
        "l2_bytes": 524288,
        "l3_bytes": 8388608,
        "line_bytes": 64,
        "toolchain": "gcc 12.2.0",
    }
    key = Target.from_dict(fixed).key()
    assert key == "f17f4a8f3d48e444"
    assert Target.from_dict({**fixed, "model": "B"}).key() == key
    assert Target.from_dict({**fixed, "features": ["fma", "avx2"]}).key() == key
    for name, value in [("toolchain", "gcc 13.1.0"), ("cores", 8), ("arch", "aarch64")]:
        assert Target.from_dict({**fixed, name: value}).key() != key


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gpu", "unknown target 'gpu'; did you mean 'cpu'"),
        ("", "unknown target ''; known: cpu, cuda:sm_90, opencl"),
        ("cpu:zen4", "unknown target 'cpu:zen4'"),
        ("opencl:", "unknown target 'opencl:'; did you mean 'opencl'"),
        ("cuda:sm_91", "unknown CUDA architecture 'sm_91'; did you mean 'sm_90'"),
        (3, "named by text such as 'cpu', got int"),
    ],
)
def test_bad_specs_are_refused(spec: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Target.parse(spec)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"core": 1}, "no 'core'; did you mean 'cores'"),
        ({"cores": 0}, "cores is 0, expected at least 1"),
        ({"cores": "2"}, "cores is '2', expected int"),
        ({"cores": True}, "cores is True, expected int"),
        ({"features": "avx2"}, "a list of names, got 'avx2'"),
        ({"features": 5}, "a list of names, got 5"),
    ],
)
def test_bad_overrides_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Target("cpu", **overrides)


def test_bad_dicts_are_refused() -> None:
    data = Target("cpu").to_dict()
    with pytest.raises(UsageError, match="a target has no 'sms'"):
        Target.from_dict({**data, "sms": 132})
    with pytest.raises(UsageError, match="no target of kind 'cpu' has gpu="):
        Target.from_dict({**data, "gpu": GpuLimits().to_dict()})
    del data["cores"]
    with pytest.raises(UsageError, match="a target needs 'cores'"):
        Target.from_dict(data)


def test_parse_returns_a_target_as_it_is() -> None:
    target = Target("cpu", cores=1)
    assert Target.parse(target) is target
    assert Target.parse("cpu") == Target("cpu")
