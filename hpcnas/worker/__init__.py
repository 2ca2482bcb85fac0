"""Algorithm 2 (paper section 3.4): one worker process. `python -m hpcnas.worker` starts one.

`process` begins and ends it, the loop claims, an attempt trains, delivery sends results, the heartbeat keeps the lease.
"""
