"""Entry point: `python3 deploy/check_lib ARGS`, as the script `deploy/check` calls it."""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
# The lab's own modules install servers and run programs; the check does not do it a second way.
sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(_HERE)), "dev")]
sys.path[1] = os.path.dirname(_HERE)

from check_lib.cli import main  # noqa: E402  (the paths above have to be set first)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
