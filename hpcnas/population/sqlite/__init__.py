"""The population in one SQLite file: transactions, journal, backups, restore, read-only access."""
