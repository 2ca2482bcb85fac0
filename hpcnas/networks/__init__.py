"""What a genotype computes (paper sections 2.3 and 4.1): the networks, and counts of them that need no torch.

Nothing is imported here: `counts` and `blueprint` are stdlib only, so that a head can count parameters;
`skeletons` holds the plain reference network, `plan` the fast one.
"""
