"""`python -m hpcnas` is the `hpcnas` command."""

import sys

from hpcnas.cli import main

sys.exit(main())
