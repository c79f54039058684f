"""One line a step on stderr, with the time since the command began and the time the step took."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Callable, NoReturn

_BEGAN = time.monotonic()
_LOCK = threading.Lock()


def say(text: str) -> None:
    with _LOCK:
        print(f"[{time.monotonic() - _BEGAN:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Says the step once it is over. A step longer than 15 s says that it is still going."""
    began = time.monotonic()
    done = threading.Event()

    def remind() -> None:
        wait = 15.0
        while not done.wait(wait):
            say(f"{name} … ({time.monotonic() - began:.0f}s so far)")
            wait = 30.0

    threading.Thread(target=remind, daemon=True).start()
    try:
        yield
    except BaseException:
        done.set()
        say(f"{name}: FAILED after {time.monotonic() - began:.1f}s")
        raise
    done.set()
    say(f"{name} ({time.monotonic() - began:.1f}s)")


def interrupted() -> NoReturn:
    """Leaves at once, without waiting for threads. State is written after every process that is started, so what is
    running is known and can be taken down."""
    say("interrupted; what was started is recorded. Next: dev/lab up, or dev/lab down")
    os._exit(130)


def together(*tasks: Callable[[], None]) -> None:
    """Runs the tasks side by side, waits for all of them, then raises the first error."""
    if len(tasks) == 1:
        tasks[0]()
        return
    with ThreadPoolExecutor(max_workers=max(1, len(tasks))) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            errors = [future.exception() for future in futures]
        except KeyboardInterrupt:
            interrupted()
    for error in errors:
        if error is not None:
            raise error
