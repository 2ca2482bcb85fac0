"""Schema and named queries, one folder per dialect; read by hpcnas.population."""
