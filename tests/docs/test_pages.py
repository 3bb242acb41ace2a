"""Runs the code blocks of README.md and docs/: Python in one namespace a page, commands in turn.

A block that shows a program in the text of the IR is read and printed back instead.

A block that an HTML comment `<!-- ci: ... -->` precedes sets up an environment; `.ci/run` runs it.
"""

from __future__ import annotations

import re
import shlex
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from metasched.cli.app import run
from metasched.ir.parser import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(
    r"(?P<ci><!-- ci: \w+ -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class CodeBlock:
    kind: str
    text: str
    line: int


def blocks(page: Path) -> list[CodeBlock]:
    """The blocks of a page that are run here."""
    text = page.read_text()
    found = [m for m in _BLOCK.finditer(text) if not m["ci"]]
    return [CodeBlock(m["kind"], m["text"], text[: m.start("text")].count("\n")) for m in found]


def run_python(page: Path, block: CodeBlock, namespace: dict[str, object]) -> None:
    # Blank lines in front, so that a traceback names the line of the page.
    exec(compile("\n" * block.line + block.text, str(page), "exec"), namespace)


def run_commands(block: CodeBlock) -> None:
    for line in block.text.splitlines():
        name, *arguments = shlex.split(line)
        assert name == "metasched", f"only metasched commands are run, got: {line}"
        assert run(arguments) == 0, line


@pytest.mark.cc
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCL_CACHE_DIR", str(tmp_path))
    # Dataclasses look the module of a class up by its name.
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        if block.text.startswith("@program"):
            assert str(parse(block.text)).strip() == block.text.strip()
        elif block.kind == "python":
            run_python(page, block, module.__dict__)
        else:
            assert block.kind == "sh", f"{page.name} has a block of kind '{block.kind}'"
            run_commands(block)


@pytest.mark.parametrize(
    "page", [*PAGES, *sorted((ROOT / "docs").glob("*/*.md"))], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_readme_has_the_two_commands() -> None:
    marked = dict(
        re.findall(r"<!-- ci: (\w+) -->\n```sh\n(.+)\n```", (ROOT / "README.md").read_text())
    )
    assert "metasched tune matmul m=512 n=512 k=512" in marked["tune"]
    assert "pytest" in marked["test"]
