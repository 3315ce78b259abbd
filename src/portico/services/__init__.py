"""What Portico serves itself: one FastAPI application on a private Unix socket, made of plugins' routers."""
