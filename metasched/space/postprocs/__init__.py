"""Postprocessors: one file each. Importing this package registers all of them."""

from __future__ import annotations

from metasched.space.postprocs.disallow_dynamic_loop import (
    DisallowDynamicLoop as DisallowDynamicLoop,
)
from metasched.space.postprocs.postproc import POSTPROCS as POSTPROCS
from metasched.space.postprocs.postproc import AbstractPostproc as AbstractPostproc
from metasched.space.postprocs.postproc import Rejected as Rejected
from metasched.space.postprocs.postproc import postprocess as postprocess
from metasched.space.postprocs.rewrite_cooperative_fetch import (
    RewriteCooperativeFetch as RewriteCooperativeFetch,
)
from metasched.space.postprocs.rewrite_layout import RewriteLayout as RewriteLayout
from metasched.space.postprocs.rewrite_parallel_vectorize_unroll import (
    RewriteParallelVectorizeUnroll as RewriteParallelVectorizeUnroll,
)
from metasched.space.postprocs.rewrite_pipeline import RewritePipeline as RewritePipeline
from metasched.space.postprocs.rewrite_reduction_block import (
    RewriteReductionBlock as RewriteReductionBlock,
)
from metasched.space.postprocs.rewrite_tensor_core import RewriteTensorCore as RewriteTensorCore
from metasched.space.postprocs.rewrite_tensorize import RewriteTensorize as RewriteTensorize
from metasched.space.postprocs.rewrite_unbound_block import (
    RewriteUnboundBlock as RewriteUnboundBlock,
)
from metasched.space.postprocs.rewrite_vector_store import (
    RewriteVectorStore as RewriteVectorStore,
)
from metasched.space.postprocs.verify_gpu_code import VerifyGpuCode as VerifyGpuCode
