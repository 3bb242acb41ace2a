"""The programs that entrants of a bench are; started by path, see `serve`."""
