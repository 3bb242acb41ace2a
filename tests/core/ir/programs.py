"""Random programs of every construct; only syntax matters, not sense."""

from __future__ import annotations

import random

from metasched.ir.dtype import BOOL, FLOAT32, INT32, INT64, DType
from metasched.ir.expr import (
    TRUE,
    Binary,
    Broadcast,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Ramp,
    Select,
    Var,
    const,
)
from metasched.ir.stmt import (
    Alloc,
    Annotations,
    AnnotationValue,
    Block,
    For,
    If,
    IterVar,
    Program,
    Region,
    Seq,
    Stmt,
    Store,
)

A = Buffer("a", (Var("n"), const(8)), FLOAT32)
B = Buffer("b", (const(16),), INT64)
Z = Buffer("z", (), DType("bfloat", 16))
REGISTER = Buffer("acc", (const(8),), DType.of("float32x8"), "register")
TEXTS = ["", "x", "a'b", 'say "a"', "é\n\\", "\U0001f600"]
FLOATS = [0.0, -0.0, 0.1, -1e-40, 3e38, float("inf"), float("-inf"), float("nan"), 1e300, 2.0]


class Programs:
    """Draws programs from a generator of random numbers."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def program(self) -> Program:
        body = self.stmt(3)
        plain = Block("root", (), (), (), body, annotations=self.annotations())
        root = plain if self.rng.random() < 0.7 else self.block(0)
        return Program("main", (A, B, Z, REGISTER), root)

    # -- expressions ---------------------------------------------------------------------------

    def whole(self, depth: int) -> Expr:
        if depth == 0 or self.rng.random() < 0.2:
            return self.rng.choice(
                [Var("n"), Var("i"), Var("vi"), const(self.rng.randint(-9, 9)), const(-(2**63))]
            )
        sub = depth - 1
        match self.rng.randrange(6):
            case 0:
                return Select(self.truth(sub), self.whole(sub), self.whole(sub))
            case 1:
                return Load(B, (self.whole(sub),))
            case 2:
                return Cast(INT64, self.real(sub))
            case _:
                op = self.rng.choice(["add", "sub", "mul", "floordiv", "floormod", "min", "max"])
                return Binary(op, self.whole(sub), self.whole(sub))

    def truth(self, depth: int) -> Expr:
        if depth == 0 or self.rng.random() < 0.2:
            return Const(self.rng.random() < 0.5, BOOL)
        sub = depth - 1
        compare = self.rng.choice(["eq", "ne", "lt", "le"])
        match self.rng.randrange(5):
            case 0:
                return Binary(compare, self.truth(sub), self.truth(sub))
            case 1 | 2:
                op = self.rng.choice(["and", "or"])
                return Binary(op, self.truth(sub), self.truth(sub))
            case 3:
                return Call("not", (self.truth(sub),))
            case _:
                return Binary(compare, self.whole(sub), self.whole(sub))

    def real(self, depth: int) -> Expr:
        if depth == 0 or self.rng.random() < 0.2:
            return Const(self.rng.choice(FLOATS), FLOAT32)
        sub = depth - 1
        match self.rng.randrange(6):
            case 0:
                return Call(self.rng.choice(["exp", "abs", "erf", "round"]), (self.real(sub),))
            case 1:
                return Call("pow", (self.real(sub), self.real(sub)))
            case 2:
                return Load(A, (self.whole(sub), self.whole(sub)))
            case 3:
                return Cast(FLOAT32, self.whole(sub))
            case _:
                op = self.rng.choice(["add", "sub", "mul", "div", "min", "max"])
                return Binary(op, self.real(sub), self.real(sub))

    # -- statements ----------------------------------------------------------------------------

    def stmt(self, depth: int) -> Stmt:
        if depth == 0:
            return self.store()
        sub = depth - 1
        match self.rng.randrange(8):
            case 0:
                return self.store()
            case 1 | 2:
                return self.loop(sub)
            case 3:
                return self.block(sub)
            case 4 | 5:
                return Seq(tuple(self.stmt(sub) for _ in range(self.rng.randrange(4))))
            case 6:
                other = self.stmt(sub) if self.rng.random() < 0.6 else None
                return If(self.truth(2), self.stmt(sub), other)
            case _:
                return Alloc(Buffer("d", (self.whole(1),), INT64, "register"), self.stmt(sub))

    def store(self) -> Stmt:
        match self.rng.randrange(5):
            case 0:
                return Store(B, (self.whole(1),), self.whole(3))
            case 1:
                return Store(Z, (), Cast(Z.dtype, self.real(1)))
            case 2:
                return Store(REGISTER, (self.whole(1),), Const(1.5, REGISTER.dtype))
            case 3:
                ramp = Ramp(self.whole(1), self.whole(1), 4)
                value = self.rng.choice([Load(B, (ramp,)), Broadcast(self.whole(1), 4), ramp])
                return Store(B, (ramp,), value)
            case _:
                return Store(A, (self.whole(2), self.whole(1)), self.real(3))

    def loop(self, depth: int) -> Stmt:
        var = Var("i", self.rng.choice([INT64, INT64, INT32]))
        kind = self.rng.choice(["serial", "parallel", "vectorized", "unrolled", "thread"])
        axis = self.rng.choice([None, "blockIdx.x"])
        # The body speaks of an int64 i, so another dtype gets a body that speaks of none.
        body = self.stmt(depth) if var.dtype == INT64 else Store(B, (const(2),), const(1))
        return For(var, self.whole(1), body, kind, axis, self.annotations())

    def block(self, depth: int) -> Block:
        axis = IterVar(
            Var("vi"),
            self.whole(1),
            self.rng.choice(["spatial", "reduce", "opaque"]),
            self.whole(1),
        )
        local = Buffer("c", (self.whole(1),), INT64, self.rng.choice(["global", "local"]))
        return Block(
            self.rng.choice(TEXTS),
            (axis,) if self.rng.random() < 0.7 else (),
            tuple(self.region(A) for _ in range(self.rng.randrange(3))),
            tuple(self.region(Z) for _ in range(self.rng.randrange(2))),
            self.stmt(depth),
            self.stmt(depth) if self.rng.random() < 0.5 else None,
            self.truth(2) if self.rng.random() < 0.5 else TRUE,
            (local,) if self.rng.random() < 0.5 else (),
            self.annotations(),
        )

    def region(self, buffer: Buffer) -> Region:
        return Region(buffer, tuple((self.low(), self.extent()) for _ in buffer.shape))

    def low(self) -> Expr:
        return self.whole(1) if self.rng.random() < 0.5 else const(self.rng.randint(-3, 3))

    def extent(self) -> Expr:
        chosen = self.whole(1) if self.rng.random() < 0.5 else const(self.rng.randint(1, 3))
        # The end of a box must fit its dtype to have a text.
        return const(7) if isinstance(chosen, Const) and chosen.value < 0 else chosen

    def annotations(self) -> Annotations:
        keys = self.rng.sample(TEXTS, self.rng.randrange(3) if self.rng.random() < 0.4 else 0)
        return tuple((key, self.annotation()) for key in keys)

    def annotation(self) -> AnnotationValue:
        values: list[AnnotationValue] = [
            self.rng.choice(TEXTS), 3, -4, 1.5, float("inf"), (), (1,), (1, -2), ("a",), ("a", "")
        ]  # fmt: skip
        return self.rng.choice(values)
