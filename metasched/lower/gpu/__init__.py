"""Lowering for GPUs: kernels of threads from thread-bound loops. Read `pipeline`."""
