"""What Portico keeps: the database, its tables and migrations, the repositories of accounts, the vault."""
