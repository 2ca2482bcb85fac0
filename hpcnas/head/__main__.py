"""`python -m hpcnas.head` is `hpcnas head`."""

import sys

from hpcnas.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "head")
    sys.exit(main())
