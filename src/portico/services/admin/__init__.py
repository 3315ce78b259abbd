"""What administrators do with keys, people and invitations."""
