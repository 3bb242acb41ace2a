"""Databases of other tuners: what of them carries over, and a report of what does not.

Read `report` first, then `tvm` or `kernel_tuner`.
"""

from __future__ import annotations

from metasched.interchange.foreign import FORMATS, import_foreign
from metasched.interchange.report import ImportReport

__all__ = ["FORMATS", "ImportReport", "import_foreign"]
