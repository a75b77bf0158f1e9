"""`python -m tinygan.cli` is `tinygan`."""

import sys

from . import main

sys.exit(main())
