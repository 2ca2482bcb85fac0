"""The commands of `hpcnas`, a module for each family; each registers its own with the command line."""
