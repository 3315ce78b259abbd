"""HTTP/1.1 as the edge speaks it: strict readers of heads, field blocks, bodies and targets (RFC 9110, RFC 9112)."""
