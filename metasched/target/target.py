"""The machine a program is scheduled, compiled and measured for, as one immutable value.

`detect` fills it in for this host, `toolchain` compiles for it, `peak` says how fast it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final, TypedDict, Unpack, cast

from metasched.errors import UsageError, suggest
from metasched.target.detect import host_facts, vector_unit
from metasched.target.gpu import GpuLimits
from metasched.target.gpu_facts import cuda_facts, opencl_facts
from metasched.target.toolchain import describe_toolchain

KINDS: Final = ("cpu", "cuda", "opencl")
_EXAMPLES: Final = ("cpu", "cuda:sm_90", "opencl")
NOT_IN_KEY = frozenset({"model", "line_bytes", "vector_registers"})
"""Fields that follow from the others, or do not change which kernels are good."""


class TargetFields(TypedDict, total=False):
    """What may be overridden by name; see `Target` for the meaning."""

    arch: str
    model: str
    features: tuple[str, ...]
    cores: int
    vector_bits: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    line_bytes: int
    toolchain: str
    gpu: GpuLimits | None


@dataclass(frozen=True, slots=True, init=False)
class Target:
    """A description of the machine that kernels run on.

    ``Target("cpu")`` describes this host; any field can be overridden by name. Features that
    are overridden decide the vector registers too, unless those are given as well.

    ``Target("cuda:sm_90")`` (or ``"cuda:h100"``) describes a GPU of that architecture, the one in
    this machine where there is one; ``Target("cuda")`` the first GPU of this machine.
    ``Target("opencl")`` stands for a GPU of middling limits, and ``"opencl:NAME"`` for the device
    here whose name, or whose platform's name, contains NAME.

    Attributes:
        kind: ``"cpu"``, ``"cuda"`` or ``"opencl"``.
        arch: The instruction set, such as ``"x86_64"`` or ``"sm_90"``; of OpenCL the device's
            name, or ``"any"``.
        model: The name of the processor.
        features: The ISA features that matter to generated code, sorted.
        cores: The cores that a kernel may use; multiprocessors of a GPU.
        vector_bits: Bits of a vector register; of a GPU those that a thread loads at once.
        vector_registers: Vector registers of one core; of a GPU the registers of a thread.
        l1_bytes: First-level data cache of one core; of a GPU its shared memory.
        l2_bytes: Second-level cache of one core; that of the whole GPU.
        l3_bytes: Last-level cache, shared by the cores.
        line_bytes: Bytes of a cache line.
        toolchain: Compiler name and version such as ``"gcc 12.2.0"``, or ``"none"``.
        gpu: The limits of a GPU; None for a CPU.

    Raises:
        UsageError: an unknown kind or field, or a value out of its range.
        DeviceError: no OpenCL device here has the name that is given.

    >>> Target("cpu", cores=1).cores
    1
    """

    kind: str
    arch: str
    model: str
    features: tuple[str, ...]
    cores: int
    vector_bits: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    line_bytes: int
    toolchain: str
    gpu: GpuLimits | None

    def __init__(self, kind: str = "cpu", **overrides: Unpack[TargetFields]) -> None:
        kind, name = _checked_kind(kind)
        if kind != "cpu":
            _fill(self, {"kind": kind, **_gpu_facts(kind, name, _checked_overrides(overrides))})
            return
        facts: dict[str, Any] = {**host_facts(), "toolchain": describe_toolchain(), "gpu": None}
        facts |= _checked_overrides(overrides)
        if "features" in overrides or "arch" in overrides:
            bits, registers = vector_unit(facts["arch"], facts["features"])
            facts["vector_bits"] = overrides.get("vector_bits", bits)
            facts["vector_registers"] = overrides.get("vector_registers", registers)
        _fill(self, {"kind": kind, **facts})

    @staticmethod
    def parse(spec: str | Target) -> Target:
        """Return the target that a user named, or the target itself.

        Raises:
            UsageError: the text names no target, or one that is not supported.
        """
        return spec if isinstance(spec, Target) else Target(spec)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values; `from_dict` reads them back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["features"] = list(self.features)
        # Targets of a CPU are stored as they were before there were others.
        del values["gpu"]
        return values if self.gpu is None else values | {"gpu": self.gpu.to_dict()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Target:
        """Return the target that `to_dict` described; nothing is taken from this host.

        Raises:
            UsageError: a field is missing, unknown or of the wrong type.
        """
        names = {field.name for field in fields(Target)}
        needed = names - {"gpu"} if data.get("kind", "cpu") == "cpu" else names
        if missing := sorted(needed - data.keys()):
            raise UsageError(f"a target needs '{missing[0]}'; got {sorted(data)}")
        if unknown := sorted(data.keys() - names):
            raise UsageError(f"a target has no '{unknown[0]}'{suggest(unknown[0], names)}")
        limits = data.get("gpu")
        target = object.__new__(Target)
        _fill(target, {**data, "gpu": None if limits is None else GpuLimits.from_dict(limits)})
        return target

    def key(self) -> str:
        """Return a short stable hash of the fields that decide which kernels are good."""
        return _key(self)

    def __str__(self) -> str:
        if self.gpu is not None:
            shared = f"{self.gpu.shared_bytes_optin >> 10} KiB shared memory"
            return f"{self.kind} {self.arch} {self.model}, {self.cores} multiprocessors, {shared}"
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''}"
        return f"{self.kind} {self.arch} {self.model}, {cores}, {self.vector_bits}-bit vectors"


@lru_cache(maxsize=1024)
def _key(target: Target) -> str:
    decisive = {k: v for k, v in target.to_dict().items() if k not in NOT_IN_KEY}
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _checked_kind(spec: str) -> tuple[str, str]:
    """Return kind and name of a specification such as ``"cuda:sm_90"``."""
    if not isinstance(spec, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a target is named by text such as 'cpu', got {type(spec).__name__}")
    kind, colon, name = spec.partition(":")
    if kind not in KINDS or (colon and (kind == "cpu" or not name)):
        raise UsageError(f"unknown target '{spec}'{suggest(spec, _EXAMPLES)}")
    return kind, name


def _gpu_facts(kind: str, name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    facts = cuda_facts if kind == "cuda" else opencl_facts
    found = {**facts(name or overrides.get("arch", "")), **overrides}
    if isinstance(limits := overrides.get("gpu"), GpuLimits):
        found["cores"] = limits.multiprocessors
    return found


def _checked_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    known = TargetFields.__annotations__
    for name in overrides:
        if name not in known:
            raise UsageError(f"a target has no '{name}'{suggest(name, known)}")
    return {name: _checked(name, value) for name, value in overrides.items()}


def _fill(target: Target, values: Mapping[str, Any]) -> None:
    """Set the checked fields of a frozen target."""
    if values["kind"] not in KINDS or (values["kind"] == "cpu") != (values["gpu"] is None):
        raise UsageError(f"no target of kind {values['kind']!r} has gpu={values['gpu']!r}")
    for field in fields(Target):
        object.__setattr__(target, field.name, _checked(field.name, values[field.name]))


def _checked_features(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise UsageError(f"target features are a list of names, got {value!r}")
    names = set(cast("Iterable[Any]", value))
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"target features are a list of names, got {value!r}")
    return tuple(sorted(names))


def _checked(name: str, value: Any) -> Any:
    if name == "features":
        return _checked_features(value)
    if name == "gpu":
        if not isinstance(value, GpuLimits | None):
            raise UsageError(f"target gpu is {value!r}, expected GpuLimits")
        return value
    expected = str if name in ("kind", "arch", "model", "toolchain") else int
    if not isinstance(value, expected) or isinstance(value, bool):
        raise UsageError(f"target {name} is {value!r}, expected {expected.__name__}")
    if isinstance(value, int) and value < 1:
        raise UsageError(f"target {name} is {value}, expected at least 1")
    return value
