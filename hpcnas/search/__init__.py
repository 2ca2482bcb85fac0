"""The running search: the parts that head.py (Algorithm 1) and worker.py (Algorithm 2) are made of.

Each part has one duty and no loop of its own: holding the lock, breeding, watching leases,
staffing, judging failures, showing; the head's loop calls them in turn.
"""
