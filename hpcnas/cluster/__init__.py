"""The machines: how workers are started, watched and ended, on Slurm, on this machine, or in this process.

All knowledge of Slurm and of submitit lives in this room. The head uses `make_launcher`. A worker uses `task` for its name
and place, and `signals` for requests to stop.
"""

from hpcnas.cluster.launch import make_launcher
from hpcnas.cluster.launcher import Launcher

__all__ = ["Launcher", "make_launcher"]
