"""The operator suite side by side: each entrant in a process of its own, timed in turns.

`contest` runs a case, `peer` talks to an entrant, `peers/` holds the programs that entrants are,
`report` puts the figures together.
"""
