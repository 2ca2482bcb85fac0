"""What people see of a search: tables, figures, drawings, one HTML page, exports. Reads rows and files; trains nothing."""
