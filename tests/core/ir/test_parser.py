from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metasched import ops, te
from metasched.errors import ParseError
from metasched.ir import parser
from metasched.ir.parser import parse
from metasched.testing.suite import SUITE, small
from tests.core.ir.programs import Programs

EVERYTHING = """\
@program
def main(a: Buffer((n, 8), "float32"), z: Buffer((), "int8", scope="local"), *, t: int32):
    annotations({"note": "x", "sizes": (1, 2), "names": ("a",), "ratio": -1.5})
    b = alloc((n * 2,), "float32")
    for i in thread(n, {"unroll": 16}, axis="blockIdx.x"):
        for j in parallel(8):
            with block("b"):
                vi = spatial(n, i)
                vj = reduce(8, j)
                where(i * 8 + j < 500 and not (i == j or n < 4))
                reads(a[vi, 0:8], a[vi:vi + 4, 2:6])
                writes(b[vi])
                annotations({"tile": ()})
                with init():
                    b[vi] = float32(-inf)
                b[vi] = max(b[vi], exp(a[vi, vj]) * float32(nan) - (a[vi, 0] - float32(1e-05)))
    acc = declare((), "float32x4", scope="register")
    acc[()] = broadcast(float32(0.0), 4)
    if t < int32(3):
        b[ramp(0, 1, 4)] = if_then_else(True, acc[()], float32x4(1.0))
    elif n == 1:
        pass
    else:
        with declare((4,), "int8") as c:
            c[0] = cast(a[0, 0], "int8")
        with seq():
            z[()] = int8(-128)"""


def test_every_construct_keeps_its_text() -> None:
    program = parse(EVERYTHING)
    assert str(program) == EVERYTHING
    assert parse(str(program)) == program


@pytest.mark.parametrize("name", SUITE)
def test_operators_round_trip(name: str) -> None:
    program = small(name)
    assert parse(str(program)) == program


def test_symbolic_and_argmax_round_trip() -> None:
    n = te.var("n")
    a = te.placeholder((n, 4), name="a")
    k = te.reduce_axis(4)
    best = te.compute((n,), lambda i: te.argmax(a[i, k], axis=k), name="root")
    program = te.program([a, best])
    assert parse(str(program)) == program


def test_every_program_round_trips() -> None:
    for seed in range(600):
        program = Programs(seed).program()
        text = str(program)
        again = parse(text)
        assert again == program, f"seed {seed}"
        assert str(again) == text


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_text_is_refused_or_read(data: st.DataObject) -> None:
    lines = EVERYTHING.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(lines) - 1))
        line = lines[row]
        at = data.draw(st.integers(0, len(line)))
        drop = data.draw(st.integers(0, 6))
        piece = data.draw(
            st.sampled_from(["", "(", "]", "a", "1", "vi", ", ", "{", "not ", ":", "'"])
        )
        lines[row] = line[:at] + piece + line[at + drop :]
    check_refused_or_read("\n".join(lines))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=80))
def test_any_text_is_refused_or_read(text: str) -> None:
    check_refused_or_read(text)
    check_refused_or_read(f"@program\ndef f(a: Buffer((4,), 'int8')):\n    a[0] = {text}")


def check_refused_or_read(text: str) -> None:
    try:
        program = parse(text)
    except ParseError as error:
        message = str(error)
    else:
        assert parse(str(program)) == program
        return
    assert message.startswith("line ")


HEAD = '@program\ndef f(a: Buffer((4,), "float32"), n: Buffer((2, 2), "int64")):\n    '


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("b[0] = float32(1.0)", "line 3: buffer 'b' is not declared"),
        ("a[0, 1] = float32(1.0)", "line 3: buffer 'a' has 1 dimensions, got 2 indices"),
        ("a[0] = 1", "line 3: buffer 'a' holds float32, got a value of int64"),
        ("a[0] = 1.0", "line 3: a float needs its dtype; write float32"),
        ("a[0] = float31(1.0)", "line 3: unknown dtype 'float31'; did you mean"),
        ("a[0] = expp(a[0])", "line 3: unknown function 'expp'; did you mean 'exp'"),
        ("a[0] = exp(a[0], a[1])", "line 3: 'exp' takes 1 arguments, got 2"),
        ("a[0] = a[0] + n[0, 0]", "line 3: 'add' needs operands of one dtype"),
        ("n[0, 0] = uint8(300)", r"line 3: 'uint8\(300\)' does not fit uint8"),
        ("for i in sequential(4):\n        a[i] = a[i]", "line 3: expected a loop over serial"),
        ("while True:\n        a[0] = a[0]", "line 3: 'while True:' is no statement"),
        ("a[0] = (lambda: a)()", "line 3: .* is no expression"),
        ("a[0] = __import__('os').system('true')", "line 3: .* is no expression"),
        ("import os", "line 3: 'import os' is no statement"),
        ("with block('b'):\n        reads(a[0:n[0, 0]:2])\n        a[0] = a[0]", "line 4: a range"),
        ("with block('b'):\n        vi = spatial(4, 0)", "line 4: expected a statement"),
        ("a[0] =", "line 3: invalid syntax"),
    ],
)
def test_errors_name_the_line(statement: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(HEAD + statement)


def test_depth_and_size_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "a[0] = " + "-" * 3000 + "1"
    with pytest.raises(ParseError, match="line"):
        parse(HEAD + deep)
    with pytest.raises(ParseError, match="nested"):
        parse(HEAD + "n[0, 0] = " + " + ".join(["1"] * 400))
    with pytest.raises(ParseError, match="line"):
        parse(HEAD + "n[0, 0] = " + "(" * 5000 + "1" + ")" * 5000)
    monkeypatch.setattr(parser, "MAX_CHARACTERS", 100)
    with pytest.raises(ParseError, match="characters, at most 100"):
        parse(str(ops.matmul(m=2, n=2, k=2)))
