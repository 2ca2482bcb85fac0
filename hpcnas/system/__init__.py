"""What the operating system gives: lock files, processes, new files, addresses, file systems; nothing of a search."""
