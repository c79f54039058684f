"""Entry point: `python3 dev/lab_lib ARGS`, as the script `dev/lab` calls it."""

import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from lab_lib.cli import main  # noqa: E402  (the path above has to be set first)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
