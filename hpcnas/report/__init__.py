"""Output for people: tables, figures, drawings, one HTML page, exports. Reads rows and files; trains nothing."""
