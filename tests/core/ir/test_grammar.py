from __future__ import annotations

from pathlib import Path

from metasched.ir import grammar
from metasched.ir.node import Node
from metasched.ir.parser import parse
from metasched.ir.verify import verify
from metasched.ir.walk import stmt_exprs, walk, walk_expr

PAGE = Path(__file__).parents[3] / "docs" / "ir.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == grammar.page(), "run: python -m metasched.ir.grammar > docs/ir.md"


def test_the_page_holds_every_node_class() -> None:
    # By name, since a slotted dataclass leaves its first, slotless class behind.
    listed = {c.__name__ for c in (*grammar.EXPRESSIONS, *grammar.STATEMENTS, *grammar.PARTS)}
    modules = ("metasched.ir.expr", "metasched.ir.stmt")
    nodes = {c.__name__ for c in subclasses(Node) if c.__module__ in modules}
    assert nodes - {"Expr", "Stmt"} == listed


def test_the_examples_show_every_node_and_hold_the_rules() -> None:
    seen: set[type] = set()
    for text in (grammar.EXAMPLE, grammar.LOWERED):
        program = parse(text)
        assert str(program) == text
        verify(program)
        for stmt in walk(program.root):
            seen.add(type(stmt))
            seen.update(type(e) for top in stmt_exprs(stmt) for e in walk_expr(top))
    assert {*grammar.EXPRESSIONS, *grammar.STATEMENTS} <= seen


def subclasses(kind: type) -> set[type]:
    direct = set(kind.__subclasses__())
    return direct.union(*(subclasses(c) for c in direct))
