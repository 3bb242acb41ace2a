"""`python -m metasched.cli` is the `metasched` command."""

from __future__ import annotations

from metasched.cli import main

if __name__ == "__main__":
    main()
