"""Algorithm 1 (paper section 3.4): the head of a run. `python -m hpcnas.head` starts one.

The loop calls the parts in turn: breeding, maintenance of leases and workers, scaling, requests, display.
"""
