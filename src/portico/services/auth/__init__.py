"""Who calls: registration, login, sessions, and what the edge asks of it."""
