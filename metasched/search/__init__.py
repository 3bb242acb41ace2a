"""The search: structures, populations, strategies, mutators and the ask/tell core `tuner.Tuner`.

Nothing here does I/O or starts a process. Read `problem`, `population`, then `tuner`.
"""
