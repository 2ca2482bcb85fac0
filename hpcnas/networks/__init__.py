"""Networks of genotypes (paper sections 2.3 and 4.1), and counts of them that need no torch.

Nothing is imported here: `counts` and `blueprint` are stdlib only, so a head can count parameters.
`skeletons` holds the plain reference network, `plan` the fast one.
"""
