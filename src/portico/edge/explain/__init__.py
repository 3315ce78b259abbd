"""`portico explain`: a request is led through the compiled plan by peeks, which spend nothing."""
