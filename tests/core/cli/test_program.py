import doctest
import sys
from pathlib import Path

import pytest

from metasched.cli import program
from metasched.cli.program import load_program, parse_pairs, parse_value
from metasched.errors import UsageError

OWN = """
from metasched import te

def scale(n: int, factor: float = 2.0, dtype: str = "float32"):
    a = te.placeholder((n,), dtype, name="a")
    return te.program([a, te.compute((n,), lambda i: a[i] * factor, name="b")], name="scale")

def nothing():
    return None

def broken(n: int):
    return n.no_such_attribute

def anything(**sizes):
    return scale(**sizes)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "own_program.py"
    path.write_text(OWN)
    return path


def test_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(program).failed == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("-1", -1), ("1e-5", 1e-5), ("True", True), ("relu", "relu"), ("", "")],
)
def test_values_are_what_they_spell(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parse_pairs(["a=b=c"]) == {"a": "b=c"}


def test_operators_by_name() -> None:
    assert load_program("dense", ["m=4", "n=8", "k=2", "activation=relu"]).name == "dense"


@pytest.mark.parametrize("op", ["own_program.py:scale", "own_program:scale"])
def test_a_users_function_by_file_and_by_module(own: Path, op: str) -> None:
    made = load_program(op, ["n=16", "factor=0.5"])
    assert made.name == "scale"
    assert "0.5" in str(made)


def test_an_absolute_path(own: Path) -> None:
    assert load_program(f"{own}:anything", ["n=4"]).name == "scale"


@pytest.mark.parametrize(
    ("op", "pairs", "message"),
    [
        ("matmull", [], "unknown operator 'matmull'; did you mean 'matmul'"),
        ("matmul", ["m=4", "l=4"], "matmul has no key 'l'; known: acc_dtype, dtype, k, m, n"),
        ("matmul", ["m=4", "dtyp=float32"], "has no key 'dtyp'; did you mean 'dtype'"),
        ("matmul", ["m=4"], "matmul also needs n=... k=...; its keys are m, n, k"),
        ("matmul", ["m"], "'m' is given, expected key=value"),
        ("matmul", ["=4"], "'=4' is given, expected key=value"),
        ("matmul", ["m=4", "m=5"], "'m' is given twice"),
        ("matmul", ["m=0", "n=1", "k=1"], "m=0 is given, an integer of at least 1"),
        ("matmul", ["m=-3", "n=1", "k=1"], "m=-3 is given, an integer of at least 1"),
        ("matmul", ["m=4.5", "n=1", "k=1"], "m=4.5 is given, an integer"),
        ("matmul", ["m=4", "n=1", "k=1", "dtype=float99"], "unknown dtype 'float99'; did you mean"),
        ("own_program.py", [], "names a file alone; name its function too: own_program.py:func"),
        ("gone.py:f", [], "no file 'gone.py'"),
        ("gone_module:f", [], "no module 'gone_module'"),
        (":f", [], "no module '' before the colon"),
        ("own_program.py:scael", [], "no function 'scael' in own_program.py; did you mean 'scale'"),
        ("own_program.py:nothing", [], "returned NoneType, expected a program"),
        ("own_program.py:broken", ["n=1"], r"failed: AttributeError: .*\(own_program.py, line 12"),
        ("own_program.py:scale", ["m=1"], "has no key 'm'; known: dtype, factor, n"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(
    own: Path, op: str, pairs: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_program(op, pairs)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (", "SyntaxError"),
        ("import no_such_thing", "ModuleNotFoundError"),
        ("1 / 0", "line 1"),
    ],
)
def test_a_file_that_does_not_import(own: Path, text: str, message: str) -> None:
    own.write_text(text)
    with pytest.raises(UsageError, match=rf"'own_program.py' cannot be imported: .*{message}"):
        load_program("own_program.py:f", [])
