"""C with GNU vector extensions and OpenMP: the language tables and `emit_c`.

gcc and clang compile the text; a kernel never allocates and keeps no state. Read `c_prelude` next.
"""

from __future__ import annotations

from typing import Final

from metasched.codegen.c_family import CFamilyPrinter
from metasched.codegen.c_prelude import C_TYPES, PIN, PINNED_BYTES, c_extern, prelude
from metasched.codegen.dialect import Dialect
from metasched.codegen.source import CSource
from metasched.ir.extern import EXTERNS
from metasched.ir.walk import stores
from metasched.lower.pipeline import Lowered
from metasched.lower.scope import Machine

_KEYWORDS: Final = """
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while asm typeof args workspace main bool true false
""".split()

C: Final = Dialect(
    name="C",
    types=C_TYPES,
    keywords=frozenset(_KEYWORDS),
    infix={
        "or": ("||", 2),
        "and": ("&&", 3),
        "eq": ("==", 7),
        "ne": ("!=", 7),
        "lt": ("<", 8),
        "le": ("<=", 8),
        "add": ("+", 10),
        "sub": ("-", 10),
        "mul": ("*", 11),
        "div": ("/", 11),
        "floordiv": ("/", 11),
        "floormod": ("%", 11),
    },
    prelude=prelude,
    pin="MS_PIN_{}({});",
    pinned_bytes=PINNED_BYTES,
    parallel=lambda threads: f"#pragma omp parallel for schedule(static) num_threads({threads})",
)


def emit_c(lowered: Lowered, target: Machine) -> CSource:
    """Print a lowered program as a C kernel.

    Raises:
        CodegenError: the program uses a type or an operation that C lacks.
    """
    printer = CFamilyPrinter(C, lowered.ranges, lowered.slots, target.cores)
    entry = "metasched_" + printer.name(lowered.name)
    with printer.braces(f"void {entry}(void **args, void *workspace)"):
        _arguments(lowered, printer)
        printer.stmt(lowered.body)
    externs = [EXTERNS[name] for name in sorted(printer.externs)]
    includes = ["#include <math.h>", "#include <stdint.h>"]
    includes += sorted({f"#include <{header}>" for f in externs for header in f.includes})
    if any(slot.stride for slot in lowered.slots.values()):
        includes.insert(1, "#include <omp.h>")
    types = [t for f in externs for t in (*f.args, f.result)]
    before = prelude((*printer.vector_types, *types), printer.helpers)
    before = "\n".join((before, *map(c_extern, externs)))
    if printer.pins:
        before = f"{PIN}\n{before}"
    parts = [*includes, "", before, "", *printer.lines, ""]
    return CSource("\n".join(parts), entry, lowered.workspace_bytes)


def _arguments(lowered: Lowered, printer: CFamilyPrinter) -> None:
    written = {store.buffer.name for store in stores(lowered.body)}
    for number, buffer in enumerate(lowered.params):
        const = "" if buffer.name in written else "const "
        text = f"{const}{printer.type(buffer.dtype)} *restrict {printer.name(buffer.name)}"
        printer.line(f"{text} = args[{number}];")
    for number, size in enumerate(lowered.sizes, len(lowered.params)):
        printer.line(f"const int64_t {printer.name(size.name)} = *(const int64_t *)args[{number}];")
