"""Spaces as versioned JSON, and back.

Rules and postprocessors are frozen dataclasses, so their fields are written by name. A class that
is registered goes by its registered name, any other class or function as ``module:name``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeVar, cast

from metasched.errors import UsageError
from metasched.registry import Registry
from metasched.space.postprocs import POSTPROCS, AbstractPostproc
from metasched.space.rules import RULES, AbstractRule
from metasched.space.space import Space
from metasched.trace.trace import Trace

VERSION: Final = 1
_MEMBER: Final = {"rules", "postprocs", "functions", "fixed"}
T = TypeVar("T")


def to_json(space: Space) -> str:
    """One line of JSON; equal spaces give equal text.

    Raises:
        UsageError: a function or class cannot be found by name from another process.
    """
    mutators = None if space.mutators is None else [list(pair) for pair in space.mutators]
    data = {
        "version": VERSION,
        "members": [_write_member(member) for member in space.members],
        "mutators": mutators,
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> Space:
    """Read a space; it imports the modules that the text names.

    Raises:
        UsageError: the text is no space, or names what does not exist.
    """
    try:
        data = json.loads(text)
        if data["version"] != VERSION:
            raise UsageError(
                f"the space is of version {data['version']!r}, this metasched reads version "
                f"{VERSION}; write it again"
            )
        first, *rest = (_read_member(member) for member in data["members"])
        weights = data["mutators"]
        mutators = None if weights is None else tuple((str(n), float(w)) for n, w in weights)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"expected the JSON text of a space: {error!r}") from error
    return Space(first.rules, first.postprocs, mutators, first.functions, first.fixed, tuple(rest))


def name_of(item: type | Callable[..., object]) -> str:
    """``module:name`` of a class or function.

    Raises:
        UsageError: another process could not find it under that name.
    """
    module, name = item.__module__, item.__qualname__
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is not item or module == "__main__":
        raise UsageError(
            f"'{name}' of module '{module}' cannot be written as text, because another process "
            "could not import it; define it with def or class at the top of a module"
        )
    return f"{module}:{name}"


def named(text: str) -> Any:
    """What ``module:name`` names.

    Raises:
        UsageError: there is no such module or name.
    """
    module, _, name = text.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"the space needs '{text}', which cannot be imported: {error}") from error
    return found


def describe(item: AbstractRule | AbstractPostproc) -> dict[str, Any]:
    """The options of a rule or postprocessor as JSON values, with a name for what has none."""
    return {f.name: _write(getattr(item, f.name), strict=False) for f in fields(cast(Any, item))}


def _write_member(member: Space) -> dict[str, Any]:
    postprocs = member.postprocs
    return {
        "rules": [_write_plugin(rule, RULES) for rule in member.rules],
        "postprocs": None
        if postprocs is None
        else [_write_plugin(p, POSTPROCS) for p in postprocs],
        "functions": [name_of(function) for function in member.functions],
        "fixed": [json.loads(trace.to_json()) for trace in member.fixed],
    }


def _read_member(data: dict[str, Any]) -> Space:
    if unknown := sorted(set(data) - _MEMBER):
        raise UsageError(f"a member of a space has no field '{unknown[0]}'")
    postprocs = data["postprocs"]
    return Space(
        tuple(_read_plugin(item, RULES, AbstractRule) for item in data["rules"]),
        None
        if postprocs is None
        else tuple(_read_plugin(item, POSTPROCS, AbstractPostproc) for item in postprocs),
        functions=tuple(named(text) for text in data["functions"]),
        fixed=tuple(Trace.from_json(json.dumps(item)) for item in data["fixed"]),
    )


def _write_plugin(item: AbstractRule | AbstractPostproc, registry: Registry[Any]) -> dict[str, Any]:
    is_known = item.name in registry and registry[item.name] is type(item)
    options = {f.name: _write(getattr(item, f.name)) for f in fields(cast(Any, item))}
    return {"kind": item.name if is_known else name_of(type(item)), "options": options}


def _read_plugin(data: Any, registry: Registry[type[T]], base: type[T]) -> T:
    kind = str(data["kind"])
    found: Any = named(kind) if ":" in kind else registry[kind]
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UsageError(f"'{kind}' is no {registry.kind}")
    return _make(found, data["options"])


def _make(found: type[T], options: Mapping[str, Any]) -> T:
    known = {f.name for f in fields(cast(Any, found)) if f.init}
    if unknown := sorted(set(options) - known):
        raise UsageError(f"'{found.__name__}' has no option '{unknown[0]}'")
    return found(**{name: _read(value) for name, value in options.items()})


def _write(value: object, *, strict: bool = True) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple() | list():
            return [_write(item, strict=strict) for item in cast("tuple[object, ...]", value)]
        case AbstractRule():
            return {"rule": _write_plugin(value, RULES)} if strict else str(value)
        case type():
            pass
        case _ if is_dataclass(value):
            options = {f.name: _write(getattr(value, f.name), strict=strict) for f in fields(value)}
            return {"record": name_of(type(value)), "options": options}
        case _ if callable(value) and (name := getattr(value, "__qualname__", "")):
            return {"function": name_of(value)} if strict else name
        case _:
            pass
    if strict:
        raise UsageError(f"{value!r} cannot be written as text; a rule's options are plain values")
    return repr(value)


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read(item) for item in cast("list[Any]", value))
    if not isinstance(value, dict):
        return value
    data = cast("dict[str, Any]", value)
    if "function" in data:
        return named(data["function"])
    if "rule" in data:
        return _read_plugin(data["rule"], RULES, AbstractRule)
    found = named(data["record"])
    if not (isinstance(found, type) and is_dataclass(found)):
        raise UsageError(f"'{data['record']}' is no record")
    return _make(cast("type[Any]", found), data["options"])
