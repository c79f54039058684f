"""What a person reads while the demonstration runs: numbered steps with their time, on stderr."""
import sys
import time
from contextlib import contextmanager


class Story:
    """Tells the steps and keeps their seconds."""

    def __init__(self) -> None:
        self.seconds = {}
        self._number = 0
        self._bold, self._plain = ("\033[1m", "\033[0m") if sys.stderr.isatty() else ("", "")

    @contextmanager
    def step(self, key: str, text: str):
        """Times one step under `key`."""
        self._number += 1
        self.say(f"\n{self._bold}{self._number}. {text}{self._plain}")
        begun = time.monotonic()
        yield
        took = time.monotonic() - begun
        self.seconds[key] = round(took, 1)
        self.say(f"   done in {took:.1f} s")

    @staticmethod
    def say(text: str) -> None:
        """One line to the reader."""
        print(text, file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """A line that belongs to the step under way."""
        self.say(f"   {text}")
