"""The `metasched` command: `app` holds the commands, `commands/` one module each."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its status; see `metasched.cli.app.run`."""
    from metasched.cli.app import run

    sys.exit(run(sys.argv[1:]))
