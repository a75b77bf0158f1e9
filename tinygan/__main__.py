"""`python -m tinygan` is `tinygan`."""

import sys

from tinygan.cli import main

sys.exit(main())
