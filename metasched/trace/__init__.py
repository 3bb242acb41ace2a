"""Traces as data: instructions, decisions, JSON and Python text. Knows nothing of `Schedule`."""
