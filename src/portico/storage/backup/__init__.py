"""Backups: one encrypted file that holds the database and the wrapped key that opens it; made, verified, restored."""
