"""What the operating system gives: lock files, processes, new files, addresses, file systems. It knows nothing of a search."""
