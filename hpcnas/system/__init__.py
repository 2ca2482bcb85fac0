"""What the machine gives: files that one process creates, locks that one process holds. It knows nothing of a search."""
