"""Schedule primitives: one file each. Importing this package registers all of them."""

from __future__ import annotations

from metasched.schedule.primitives import add_unit_loop as add_unit_loop
from metasched.schedule.primitives import annotate as annotate
from metasched.schedule.primitives import annotate_buffer_access as annotate_buffer_access
from metasched.schedule.primitives import bind as bind
from metasched.schedule.primitives import blockize as blockize
from metasched.schedule.primitives import cache_inplace as cache_inplace
from metasched.schedule.primitives import cache_read as cache_read
from metasched.schedule.primitives import cache_write as cache_write
from metasched.schedule.primitives import compute_at as compute_at
from metasched.schedule.primitives import compute_inline as compute_inline
from metasched.schedule.primitives import decompose_reduction as decompose_reduction
from metasched.schedule.primitives import enter_postproc as enter_postproc
from metasched.schedule.primitives import fuse as fuse
from metasched.schedule.primitives import fuse_reduction_epilogue as fuse_reduction_epilogue
from metasched.schedule.primitives import get_block as get_block
from metasched.schedule.primitives import get_child_blocks as get_child_blocks
from metasched.schedule.primitives import get_consumers as get_consumers
from metasched.schedule.primitives import get_loops as get_loops
from metasched.schedule.primitives import get_output_blocks as get_output_blocks
from metasched.schedule.primitives import get_producers as get_producers
from metasched.schedule.primitives import loop_partition as loop_partition
from metasched.schedule.primitives import merge as merge
from metasched.schedule.primitives import parallel as parallel
from metasched.schedule.primitives import read_at as read_at
from metasched.schedule.primitives import reindex as reindex
from metasched.schedule.primitives import reindex_cache_read as reindex_cache_read
from metasched.schedule.primitives import reorder as reorder
from metasched.schedule.primitives import reorder_block_iter_var as reorder_block_iter_var
from metasched.schedule.primitives import reverse_compute_at as reverse_compute_at
from metasched.schedule.primitives import reverse_compute_inline as reverse_compute_inline
from metasched.schedule.primitives import rfactor as rfactor
from metasched.schedule.primitives import rolling_buffer as rolling_buffer
from metasched.schedule.primitives import set_scope as set_scope
from metasched.schedule.primitives import split as split
from metasched.schedule.primitives import storage_align as storage_align
from metasched.schedule.primitives import transform_block_layout as transform_block_layout
from metasched.schedule.primitives import transform_layout as transform_layout
from metasched.schedule.primitives import unannotate as unannotate
from metasched.schedule.primitives import unroll as unroll
from metasched.schedule.primitives import unsafe_hide_buffer_access as unsafe_hide_buffer_access
from metasched.schedule.primitives import unsafe_set_dtype as unsafe_set_dtype
from metasched.schedule.primitives import vectorize as vectorize
from metasched.schedule.primitives import write_at as write_at
from metasched.schedule.primitives.primitive import PRIMITIVES as PRIMITIVES
