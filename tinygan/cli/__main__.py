"""`python -m tinygan.cli`."""

import sys

from . import main

sys.exit(main())
