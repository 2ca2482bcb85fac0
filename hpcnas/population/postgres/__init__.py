"""The population in a PostgreSQL server of the site."""
