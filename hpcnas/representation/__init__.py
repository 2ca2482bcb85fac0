"""WHAT an architecture is (paper sections 2.1 to 2.3): motifs and genotypes as frozen values, nothing that runs.

`Genotype` and `Motif` (genotype), `SearchSpace` (space), `genotype_from_json` and `genotype_to_json` (codec),
`live_levels` (live), `digest` (canonical), `PUBLISHED` and `identity_chain` (presets). The standard library only.
"""
