"""Ports: the lab's own range first, the next free one where somebody else holds it.

A port is free when it can be bound right now and no other lab has chosen it: between the choice and the moment
that a server binds it, two labs that come up at the same time would take the same one. What was chosen is claimed
by a lock on a file until this process ends, and by then its server is there. The file names the lab: while that is
up its port stays its own, also when the server is just being restarted. The lab's ports are recorded, so that
they stay the same from one `up` to the next unless somebody else took one while the lab was down.
"""

import fcntl
import json
import os
import socket
import threading
from pathlib import Path
from typing import IO, Any, Iterator

from . import paths, proc
from .errors import LabError

# Far from every default, in blocks that leave room for the next free one.
DEFAULTS = {
    "postgres": 15432,
    "rabbitmq": 15673,
    "rabbitmq_distribution": 25683,
    "rabbitmq_management": 15683,
    "epmd": 14369,
    "store": 17070,
    "scheduler": 18780,
    "jmx": 17100,
}

_claimed: dict[tuple[str, int], IO[str]] = {}
_lock = threading.Lock()


def is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _processes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "pid" in value and "start" in value:
            yield value
        for part in value.values():
            yield from _processes(part)
    elif isinstance(value, list):
        for part in value:
            yield from _processes(part)


def _is_up(lab: str) -> bool:
    """Whether anything of another lab runs."""
    try:
        recorded = json.loads((Path(lab) / "state.json").read_text())
    except (OSError, ValueError):
        return False
    return any(proc.alive(record) for record in _processes(recorded))


def claim(address: str, port: int) -> bool:
    """Takes a free port for this process. False where it is in use, or chosen by another lab or here before."""
    if (address, port) in _claimed:
        return False
    file = (paths.make(paths.CACHE / "ports") / f"{address}_{port}").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    file.seek(0)
    owner = file.read().strip()
    if not is_free(address, port) or (owner not in ("", str(paths.LAB)) and _is_up(owner)):
        file.close()
        return False
    file.truncate(0)
    file.write(str(paths.LAB))
    file.flush()
    _claimed[address, port] = file
    return True


def first_choice(name: str) -> int:
    """The default, or RINGVAULT_LAB_<NAME>_PORT."""
    variable = f"RINGVAULT_LAB_{name.upper()}_PORT"
    text = os.environ.get(variable, "")
    if not text:
        return DEFAULTS[name]
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LabError(f"{variable}={text}: not a port", 2)
    return int(text)


def choose(name: str, recorded: int = 0, avoid: tuple[int, ...] = ()) -> int:
    """The recorded port if it is still free, else the first free one from the default on. Never the same twice."""
    first = first_choice(name)
    with _lock:
        for port in ([recorded] if recorded else []) + list(range(first, min(first + 400, 65536))):
            if port not in avoid and claim("127.0.0.1", port):
                return port
    raise LabError(f"no free port for {name} from {first} on. Next: set RINGVAULT_LAB_{name.upper()}_PORT", 9)


def answers(address: str, port: int, timeout: float = 1.0) -> bool:
    try:
        socket.create_connection((address, port), timeout).close()
    except OSError:
        return False
    return True
