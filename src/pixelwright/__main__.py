"""`python -m pixelwright` is `pixelwright`."""

import sys

from pixelwright.cli import main

if __name__ == "__main__":
    sys.exit(main())
