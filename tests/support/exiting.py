"""A plug-in whose file would end the process."""

import sys

sys.exit(1)
