"""Questions that programs are asked: regions, dependences, operations and loop nests."""
