"""From ``OP key=value ...`` to a program: an operator, ``module:function`` or ``file.py:function``.

Everything a user can get wrong here raises `UsageError` with the closest match.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from metasched.errors import MetaschedError, UsageError, suggest
from metasched.ir.stmt import Program

Value: TypeAlias = int | float | bool | str
Function: TypeAlias = Callable[..., object]


def load_program(op: str, pairs: Sequence[str]) -> Program:
    """Build the program that a command line names.

    Args:
        op: name of an operator, ``module:function``, or ``file.py:function``.
        pairs: ``key=value`` texts, its arguments.

    Raises:
        UsageError: no such operator, module, file, function or key; a key without value, given
            twice or missing; or the function returned no program.

    >>> load_program("matmul", ["m=8", "n=8", "k=8"]).name
    'matmul'
    """
    return build_program(op, find_function(op), parse_pairs(pairs))


def build_program(op: str, function: Function, arguments: dict[str, Value]) -> Program:
    """Call what an OP names.

    Raises:
        UsageError: a key is unknown or missing, or the function failed or returned no program.
    """
    _check_keys(op, function, arguments)
    try:
        made = function(**arguments)
    except MetaschedError:
        raise
    except Exception as error:
        raise UsageError(f"{op} failed: {_where(error)}") from error
    if not isinstance(made, Program):
        raise UsageError(
            f"{op} returned {type(made).__name__}, expected a program; end it with te.program(...)"
        )
    return made


def find_function(op: str) -> Function:
    """The function that an OP names.

    Raises:
        UsageError: there is none.
    """
    home, colon, name = op.rpartition(":")
    if not colon:
        from metasched import ops

        if op not in ops.names() and op.endswith(".py"):
            raise UsageError(f"'{op}' names a file alone; name its function too: {op}:function")
        return ops.get(op)
    module = _load_file(Path(home)) if home.endswith(".py") else _load_module(home)
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"no function '{name}' in {home}{suggest(name, _functions(module))}")
    return found


def parse_pairs(pairs: Sequence[str]) -> dict[str, Value]:
    """Read ``key=value`` texts.

    Raises:
        UsageError: one has no ``=`` or no key, or a key comes twice.

    >>> parse_pairs(["m=8", "eps=1e-5", "bias=true", "dtype=float64"])
    {'m': 8, 'eps': 1e-05, 'bias': True, 'dtype': 'float64'}
    """
    values: dict[str, Value] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"'{pair}' is given, expected key=value, such as m=512")
        if key in values:
            raise UsageError(f"'{key}' is given twice; give it once")
        values[key] = parse_value(text)
    return values


def parse_value(text: str) -> Value:
    """The int, float, bool or else text that a value spells.

    >>> parse_value("3"), parse_value("0.5"), parse_value("false"), parse_value("relu")
    (3, 0.5, False, 'relu')
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_keys(op: str, function: Function, arguments: dict[str, Value]) -> None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    named = {p.name: p for p in parameters if p.kind is not p.VAR_POSITIONAL}
    for key in arguments:
        if key not in named:
            raise UsageError(f"{op} has no key '{key}'{suggest(key, named)}")
    missing = [n for n, p in named.items() if p.default is p.empty and n not in arguments]
    if missing:
        wanted = " ".join(f"{name}=..." for name in missing)
        raise UsageError(f"{op} also needs {wanted}; its keys are {', '.join(named)}")


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no file '{path}'; give the path of a Python file before the colon")
    # A name that no import can clash with; dataclasses of the file look their module up by it.
    name = f"metasched_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{path}' cannot be imported; expected a Python file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    _execute(str(path), lambda: spec.loader and spec.loader.exec_module(module))
    return module


def _load_module(name: str) -> ModuleType:
    # An installed command does not have the current directory on its path; users expect it.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UsageError(
            f"no module '{name}' before the colon; a file is named path/to/file.py:function"
        )
    return _execute(name, lambda: importlib.import_module(name))


def _execute(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:
        raise UsageError(f"'{name}' cannot be imported: {_where(error)}") from error


def _where(error: Exception) -> str:
    """An error of the user's code in one line, with the place it came from."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError):
        return text
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{text} ({Path(frame.filename).name}, line {frame.lineno})"


def _functions(module: ModuleType) -> list[str]:
    return [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
