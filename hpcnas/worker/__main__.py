"""`python -m hpcnas.worker`: one worker of a run."""

from hpcnas.system.processes import end_process
from hpcnas.worker.process import main

if __name__ == "__main__":
    end_process(main())
