"""The commands of `hpcnas`, a module for each family; each registers its own when one of them is used."""
