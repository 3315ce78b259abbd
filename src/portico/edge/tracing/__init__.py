"""The edge's part of a trace: which requests are traced, what upstreams are told of it, and the spans made of it."""
