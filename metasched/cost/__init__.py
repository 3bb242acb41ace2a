"""Cost models and what they see: features of whole populations at once. Read `numbers` first."""

from __future__ import annotations

from metasched.cost import baselines as baselines
from metasched.cost import boosted_trees as boosted_trees
