"""One module for each command; `metasched.cli.app` imports the one that is asked for."""
