"""Builds candidates and times them in processes of their own. Start with `records`."""

from __future__ import annotations
