"""The methods of `Schedule`, one file per family of primitives; `docs/primitives/` follows them."""

from __future__ import annotations

from metasched.schedule.methods.intrinsics import Intrinsics as Intrinsics
from metasched.schedule.methods.layout import Layout as Layout
from metasched.schedule.methods.lookup import Lookup as Lookup
from metasched.schedule.methods.loops import Loops as Loops
from metasched.schedule.methods.memory import Memory as Memory
from metasched.schedule.methods.movement import Movement as Movement
from metasched.schedule.methods.notes import Notes as Notes
from metasched.schedule.methods.placement import Placement as Placement
from metasched.schedule.methods.reduction import Reduction as Reduction
from metasched.schedule.methods.sampling import Sampling as Sampling
