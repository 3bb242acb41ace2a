"""Kernels on GPUs: loaded, fed, checked and timed through OpenCL or CUDA. Read `device` first."""
