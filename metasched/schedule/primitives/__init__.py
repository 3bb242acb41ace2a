"""Schedule primitives: one file each. Importing this package registers all of them."""

from __future__ import annotations

from metasched.schedule.primitives import split as split
from metasched.schedule.primitives.primitive import PRIMITIVES as PRIMITIVES
