"""TensorIR: the immutable program representation. Read `expr`, then `stmt`, then `docs/ir.md`."""
