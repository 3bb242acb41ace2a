"""Builder and runner workers on Ray. This version has the local workers of the core only."""
