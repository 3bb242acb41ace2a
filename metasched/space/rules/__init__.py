"""Rules: one file each. Importing this package registers all of them."""

from __future__ import annotations

from metasched.space.rules.add_rfactor import AddRFactor as AddRFactor
from metasched.space.rules.apply_custom_rule import CUSTOM_RULES as CUSTOM_RULES
from metasched.space.rules.apply_custom_rule import ApplyCustomRule as ApplyCustomRule
from metasched.space.rules.apply_custom_rule import CallFunction as CallFunction
from metasched.space.rules.apply_custom_rule import LeaveAlone as LeaveAlone
from metasched.space.rules.auto_bind import AutoBind as AutoBind
from metasched.space.rules.auto_inline import AutoInline as AutoInline
from metasched.space.rules.cross_thread_reduction import (
    CrossThreadReduction as CrossThreadReduction,
)
from metasched.space.rules.inline_constant_scalars import (
    InlineConstantScalars as InlineConstantScalars,
)
from metasched.space.rules.multi_level_tiling import MultiLevelTiling as MultiLevelTiling
from metasched.space.rules.multi_level_tiling_gpu import (
    MultiLevelTilingGpu as MultiLevelTilingGpu,
)
from metasched.space.rules.multi_level_tiling_tensor_core import (
    MultiLevelTilingTensorCore as MultiLevelTilingTensorCore,
)
from metasched.space.rules.multi_level_tiling_with_intrin import (
    MultiLevelTilingWithIntrin as MultiLevelTilingWithIntrin,
)
from metasched.space.rules.parallelize_vectorize_unroll import (
    ParallelizeVectorizeUnroll as ParallelizeVectorizeUnroll,
)
from metasched.space.rules.random_compute_location import (
    RandomComputeLocation as RandomComputeLocation,
)
from metasched.space.rules.reindex_to_matrices import ReindexToMatrices as ReindexToMatrices
from metasched.space.rules.rule import RULES as RULES
from metasched.space.rules.rule import AbstractRule as AbstractRule
