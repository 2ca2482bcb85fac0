"""R trainings of one genotype as one network on a GPU: memory, weights, launches and Triton kernels.

`support` says whether that is possible here; everything else needs Triton and is imported only then. The layout is numbers
alone and runs on the meta device too, so that memory is known before anything is allocated.
"""
