"""Machines that programs are compiled for, their compilers and their measured peaks."""

from __future__ import annotations

from metasched.target.target import Target

__all__ = ["Target"]
