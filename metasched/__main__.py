"""`python -m metasched` is the command line, for environments whose scripts are not on the path."""

from metasched.cli import main

main()
