"""The commands of `hpcnas`, a module for each family; `hpcnas.cli.FAMILIES` says which commands are where."""
