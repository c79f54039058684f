"""Entry point of dev/demo."""
import sys

from demo import main

sys.exit(main(sys.argv[1], sys.argv[2:]))
