"""Starting, recognising and stopping processes.

A process is recorded as pid, start time (field 22 of /proc/PID/stat), boot id and a word of its command line.
All of them must match before the lab believes that the process is its own, so a pid that the kernel gave to
somebody else after a crash or a reboot is never signalled.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable, Optional

from .errors import LabError
from .paths import make

Record = dict[str, Any]


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> Optional[list[str]]:
    """The fields of /proc/PID/stat from the third (the process state) on; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def spawn(
    command: list[str],
    log: Path,
    mark: str,
    env: Optional[dict[str, str]] = None,
    user: Optional[int] = None,
    group: Optional[int] = None,
    cwd: str = "/",
) -> Record:
    """Starts a detached process that writes to `log`. `mark` is a word that its command line keeps."""
    make(log.parent)
    with open(log, "ab") as output:
        if user is not None:
            os.fchown(output.fileno(), user, group)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            **({} if user is None else {"user": user, "group": group, "extra_groups": []}),
        )
    stat = _stat(process.pid)
    _CHILDREN[process.pid] = process
    return {"pid": process.pid, "start": stat[19] if stat else "", "boot": _boot_id(), "mark": mark}


# What this command started itself, so that one that dies at once is reaped and its exit code is known.
_CHILDREN: dict[int, subprocess.Popen] = {}


def alive(record: Optional[Record]) -> bool:
    if not record:
        return False
    # A child of ours keeps its pid until it is reaped. Its command line is no witness yet: while the kernel puts
    # the new program in place it is empty.
    child = _CHILDREN.get(record["pid"])
    if child is not None:
        return child.poll() is None
    stat = _stat(record["pid"])
    if stat is None or stat[0] in "ZX" or stat[19] != record["start"] or record["boot"] != _boot_id():
        return False
    return record["mark"] in _command_line(record["pid"])


def ready(record: Optional[Record]) -> bool:
    """Whether it lives and was seen to be ready. One that lives without may be from a command that was interrupted."""
    return alive(record) and bool(record and record.get("ready"))


def pid(record: Optional[Record]) -> Optional[int]:
    """The pid if the process lives, for status."""
    return record["pid"] if record and alive(record) else None


def send(record: Optional[Record], number: int) -> bool:
    """Signals the process if it is still ours. True if it was."""
    if not alive(record):
        return False
    try:
        os.kill(record["pid"], number)
    except ProcessLookupError:
        return False
    return True


def stop(records: Iterable[Optional[Record]], number: int = signal.SIGTERM, grace: float = 90.0) -> None:
    """Signals all, waits until all are gone, and kills those that outstay `grace` seconds."""
    left = [record for record in records if send(record, number)]
    deadline = time.monotonic() + grace
    while left:
        left = [record for record in left if alive(record)]
        if left and time.monotonic() > deadline:
            for record in left:
                send(record, signal.SIGKILL)
            deadline = time.monotonic() + 30
        if left:
            time.sleep(0.05)


def wait_for(
    what: str,
    condition: Callable[[], bool],
    record: Optional[Record] = None,
    log: Optional[Path] = None,
    timeout: float = 600.0,
) -> None:
    """Waits until the condition holds; fails at once if the process dies meanwhile, and says where its log is."""
    deadline = time.monotonic() + timeout
    pause = 0.05
    while not condition():
        if record is not None and not alive(record):
            raise LabError(f"{what}: the process ended while starting.{tail(log)}", 9)
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not ready within {timeout:.0f}s.{tail(log)}", 9)
        time.sleep(pause)
        pause = min(0.5, pause * 1.3)


def tail(log: Optional[Path]) -> str:
    """The end of a log, for an error message."""
    if log is None:
        return ""
    try:
        lines = log.read_text(errors="replace").splitlines()[-15:]
    except OSError:
        lines = []
    return f" Its log {log} ends with:\n  " + "\n  ".join(lines)


def run(command: list[str], what: str, **options: Any) -> str:
    """Runs a command to its end and returns its output; an error shows the end of it."""
    try:
        done = subprocess.run(
            command,
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )
    except FileNotFoundError:
        raise LabError(f"{what}: {command[0]} is not installed", 9) from None
    output = done.stdout.decode(errors="replace") if isinstance(done.stdout, bytes) else done.stdout
    if done.returncode != 0:
        end = "\n  ".join(output.splitlines()[-25:])
        raise LabError(f"{what}: `{' '.join(map(str, command[:6]))} …` ended with {done.returncode}:\n  {end}")
    return output
