"""The pages `docs/primitives/`, generated from the docstrings so that they cannot drift.

``python -m metasched.schedule.reference`` in a clone writes them; a test compares. There is a page
for each family, which is a class in `schedule/methods/`; a new primitive needs nothing here.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Final

from metasched.schedule.primitives import PRIMITIVES
from metasched.schedule.primitives.primitive import Primitive
from metasched.schedule.recorder import Recorder
from metasched.schedule.samplers import SAMPLERS
from metasched.schedule.samplers.sampler import Sampler
from metasched.schedule.schedule import Schedule

COMMAND: Final = "python -m metasched.schedule.reference"
_WRITTEN: Final = f"<!-- written by `{COMMAND}` -->"
_INDEX: Final = f"""\
{_WRITTEN}

# Primitives

A `ms.Schedule` holds a program and changes it step by step. Each method below is one step: it
checks what it requires, changes the program, and is recorded in `schedule.trace`. What refers to
blocks, loops and sampled integers are *handles*, which steps return and take; a block or a loop
may be given by its name in the program, too, and a buffer by its position or its name. A step
whose requirements do not hold raises `ScheduleError`, which shows the program with the place
marked, and leaves the schedule as it was. The [tutorial](../tutorial.md) uses the most common ones.

[Schedule](schedule.md) has the methods that are no steps, such as `copy` and `show`.

| step | family | gives | what it does |
|---|---|---|---|
"""


def pages() -> dict[str, str]:
    """The text of every page by file name."""
    found = {f"{_stem(family)}.md": _page(family) for family in (Schedule, *families())}
    return {"index.md": _INDEX + "".join(_rows()), **found}


def families() -> tuple[type[Recorder], ...]:
    """The classes whose methods are the primitives of one family each."""
    return tuple(base for base in Schedule.__bases__ if issubclass(base, Recorder))


def methods(family: type[Recorder]) -> list[str]:
    """The public methods of a family as they stand in the file."""
    return [name for name in vars(family) if not name.startswith("_")]


def documentation(name: str) -> str:
    """The docstring that tells most about a method: that of its primitive where there is one."""
    member = _member(name)
    if isinstance(member, Primitive):
        return inspect.cleandoc(member.apply.__doc__ or "")
    source = member.site if member else getattr(Schedule, name)
    return inspect.cleandoc(source.__doc__ or "")


def documented(name: str) -> bool:
    """Whether there is a primitive of that name."""
    return _member(name) is not None


def requirements(name: str) -> list[str]:
    """The lines of the *Requires* list of a method."""
    found = re.search(r"^Requires:\n((?: .*\n?)+)", documentation(name), re.M)
    joined = re.sub(r"\n +(?=[^\s-])", " ", found[1]) if found else ""
    return re.findall(r"- (.*)", joined)


def _member(name: str) -> Primitive | Sampler | None:
    if name in SAMPLERS:
        return SAMPLERS[name]
    return PRIMITIVES[name] if name in PRIMITIVES else None


def _stem(family: type[Recorder]) -> str:
    return family.__module__.rpartition(".")[2]


def _rows() -> Iterator[str]:
    for family in families():
        stem = _stem(family)
        for name in methods(family):
            if (member := _member(name)) is None:
                continue
            kind = {"expr": "integer", None: ""}.get(member.output, member.output)
            gives = f"{kind}s" if member.many else kind
            summary = _prose(documentation(name).splitlines()[0])
            yield f"| [`{name}`]({stem}.md#{name}) | {stem} | {gives} | {summary} |\n"


def _page(family: type[Recorder]) -> str:
    about = family.__doc__ if family is Schedule else sys.modules[family.__module__].__doc__
    lines = [_WRITTEN, "", f"# {_stem(family).capitalize()}", ""]
    lines.extend(_body(inspect.cleandoc(about or "").splitlines()))
    for name in methods(family):
        lines.extend(["", f"## {name}", "", f"`{_signature(name)}`", ""])
        lines.extend(_body(documentation(name).splitlines()))
        if _member(name) is None and family is not Schedule:
            lines.extend(["", "It is not traced."])
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _signature(name: str) -> str:
    signature = inspect.signature(getattr(Schedule, name))
    parts: list[str] = []
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not any(p[0] == "*" for p in parts):
            parts.append("*")
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        parts.append(f"{star}{parameter.name}: {parameter.annotation}{default}")
    return f"{name}({', '.join(parts)}) -> {signature.return_annotation}"


def _body(lines: list[str]) -> Iterator[str]:
    """Google sections as Markdown: arguments and requirements as lists, sketches as code."""
    text, *sketches = re.split(r"^::\n\n", "\n".join(lines), flags=re.M)
    yield from _sections(text.splitlines())
    for sketch in sketches:
        code = re.match(r"(?: .*\n?|\n)*", sketch)
        assert code is not None, "it matches nothing, too"
        yield from ("", "```text", dedent(code[0]).strip("\n"), "```", "")
        yield from _sections(sketch[code.end() :].splitlines())


def _sections(lines: list[str]) -> Iterator[str]:
    section = ""
    for line in lines:
        if header := re.fullmatch(r"(\w+):", line):
            section = header[1]
            yield from (f"{section}:", "")
        elif line and not line.startswith(" "):
            section = ""
            yield _prose(line)
        elif not section:
            yield line
        elif section != "Args" or not line.strip().startswith("state: "):
            yield _item(line.removeprefix("    "))


def _item(line: str) -> str:
    argument = re.match(r"(\w+): (.*)", line)
    if argument:
        return f"- `{argument[1]}`: {_prose(argument[2])}"
    return _prose(f"  {line.strip()}" if line.startswith(" ") else line)


def _prose(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def main(folder: Path) -> None:
    """Write the pages and remove what is no longer one."""
    folder.mkdir(exist_ok=True)
    written = pages()
    for stale in folder.glob("*.md"):
        if stale.name not in written:
            stale.unlink()
    for name, text in written.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main(Path("docs/primitives"))
