"""Services of the operating system: lock files, processes, new files, addresses, file systems; nothing of a search."""
