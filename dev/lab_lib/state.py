"""What the lab remembers between commands: one JSON file, changed under a lock.

The file is written after every process that is started or stopped, so that a lab whose command was killed
half-way can still be taken down. Readers (`status`, `cql`) take no lock: the file is replaced in one step.
"""

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

from . import paths
from .errors import LabError
from .progress import say

VERSION = 1


class State:
    """The state as a tree of plain dicts: `services` and `clusters`, `dev/lab status --json` is the outside view."""

    def __init__(self, data: dict[str, Any]):
        self.data = data
        self.lock = threading.RLock()

    @property
    def services(self) -> dict[str, Any]:
        return self.data["services"]

    @property
    def clusters(self) -> dict[str, Any]:
        return self.data["clusters"]

    def cluster(self, name: str) -> dict[str, Any]:
        if name not in self.clusters:
            known = ", ".join(self.clusters) or "none"
            raise LabError(
                f"no cluster '{name}' in this lab (there are: {known}). Next: dev/lab up --cluster {name}", 5
            )
        return self.clusters[name]

    def node(self, cluster: str, index: int) -> dict[str, Any]:
        for node in self.cluster(cluster)["nodes"]:
            if node["index"] == index:
                return node
        raise LabError(f"cluster '{cluster}' has no node {index}. Next: dev/lab status", 5)

    def scheduler(self, index: int) -> dict[str, Any]:
        for scheduler in self.services.get("schedulers", []):
            if scheduler["index"] == index:
                return scheduler
        raise LabError(f"this lab has no scheduler {index}. Next: dev/lab status", 5)

    def save(self) -> None:
        with self.lock:
            paths.write(_file(), json.dumps(self.data, indent=1) + "\n", 0o600)


def _file() -> os.PathLike:
    return paths.LAB / "state.json"


def load() -> State:
    try:
        data = json.loads(_file().read_text())
    except FileNotFoundError:
        data = {"version": VERSION, "services": {}, "clusters": {}}
    except (OSError, ValueError) as error:
        raise LabError(f"cannot read the lab's state {_file()}: {error}. Next: remove {paths.LAB}") from None
    if data.get("version") != VERSION:
        raise LabError(
            f"{_file()} has version {data.get('version')}, this lab reads {VERSION}. Next: remove {paths.LAB}"
        )
    return State(data)


@contextlib.contextmanager
def exclusive() -> Iterator[State]:
    """The state, held by this command alone until the block ends."""
    paths.make(paths.LAB)
    # O_CLOEXEC: a service that inherited the descriptor would hold the lock for as long as it runs.
    descriptor = os.open(paths.LAB / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another dev/lab command is at work on this lab: waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield load()
    finally:
        os.close(descriptor)
