"""What a printer returns: source text and how to call it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CSource:
    """C source of one kernel, ``void ENTRY(void **args, void *workspace)``.

    Args:
        text: the whole translation unit; equal programs give equal bytes.
        entry: name of the function. ``args`` holds the data pointers in parameter order, then for
            each symbolic size, in order of first appearance in the parameters' shapes, a pointer
            to an ``int64_t``.
        workspace_bytes: size of the 64-byte aligned scratch area that the caller provides and may
            reuse from call to call; 0 where none is needed.
    """

    text: str
    entry: str
    workspace_bytes: int

    @property
    def digest(self) -> str:
        """The SHA-256 of the text in hexadecimal: the key of a compiled kernel."""
        return hashlib.sha256(self.text.encode()).hexdigest()
