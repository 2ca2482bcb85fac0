"""HOW the search moves (paper sections 3.1 to 3.3): pure functions of a genotype and a `random.Random` passed in.

`mutate` (mutation), `random_genotype` (initialization), `RankedPopulation` (selection) and `breed` (breeding), which
puts them together for the head and for the simulation alike.
"""
