"""Sampling primitives: one file each; `site` holds the distributions."""

from __future__ import annotations

from metasched.schedule.samplers import categorical as categorical
from metasched.schedule.samplers import compute_location as compute_location
from metasched.schedule.samplers import partitioned_tile as partitioned_tile
from metasched.schedule.samplers import perfect_tile as perfect_tile
from metasched.schedule.samplers.sampler import SAMPLERS as SAMPLERS
