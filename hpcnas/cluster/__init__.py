"""The machines: how workers are started, watched and ended, on Slurm, on this machine, or in this process.

All knowledge of Slurm and of submitit lives in this room. `make_launcher` is its door for the head;
a worker asks `task` who and where it is and `signals` whether it was told to stop.
"""

from hpcnas.cluster.launch import make_launcher
from hpcnas.cluster.launcher import Launcher

__all__ = ["Launcher", "make_launcher"]
