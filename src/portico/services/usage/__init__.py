"""Usage: what the edge counts, taken in."""
