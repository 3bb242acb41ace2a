"""Tensor intrinsics: one file a family. Importing this package registers all of them."""

from __future__ import annotations

from metasched.target.intrinsics.dot_bfloat16 import DOT_BFLOAT16 as DOT_BFLOAT16
from metasched.target.intrinsics.dot_int8 import DOT_INT8 as DOT_INT8
from metasched.target.intrinsics.fma_float32 import FMA_FLOAT32 as FMA_FLOAT32
from metasched.target.intrinsics.mma_sync import MMA_SYNC as MMA_SYNC
from metasched.target.intrinsics.tensor_core import GROUPS as GROUPS
from metasched.target.intrinsics.tensor_core import TensorCoreGroup as TensorCoreGroup
from metasched.target.intrinsics.tensor_intrin import TENSOR_INTRINS as TENSOR_INTRINS
from metasched.target.intrinsics.tensor_intrin import TensorIntrin as TensorIntrin
from metasched.target.intrinsics.tensor_intrin import pick_intrin as pick_intrin
from metasched.target.intrinsics.tensor_intrin import register_intrin as register_intrin
from metasched.target.intrinsics.wgmma import WGMMA as WGMMA
