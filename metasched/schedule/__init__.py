"""Schedules: `Schedule` applies traced primitives to a program. Read `state`, then `schedule`."""
