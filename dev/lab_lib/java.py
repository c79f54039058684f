"""Which Java runs Cassandra: 17 or 11, whatever else the machine has."""

import functools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from .errors import LabError

SUPPORTED = (17, 11)
PACKAGE = "openjdk-17-jdk-headless"


def _candidates() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"]) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)
    for version in SUPPORTED:
        yield from sorted(Path("/usr/lib/jvm").glob(f"*{version}*/bin/java"))


def _major(java: Path) -> int:
    """From the `release` file of its folder, which saves starting it; 0 if there is none."""
    try:
        text = (java.resolve().parent.parent / "release").read_text()
    except OSError:
        return 0
    match = re.search(r'JAVA_VERSION="(\d+)', text)
    return int(match[1]) if match else 0


@functools.cache
def _found() -> Optional[tuple[Path, int]]:
    for candidate in _candidates():
        if candidate.exists() and _major(candidate) in SUPPORTED:
            return candidate.resolve(), _major(candidate)
    return None


def present() -> bool:
    _found.cache_clear()
    return _found() is not None


def program() -> Path:
    found = _found()
    if found is None:
        raise LabError(f"there is no Java 17 or 11, which Cassandra needs. Next: apt-get install {PACKAGE}", 9)
    return found[0]


def major() -> int:
    program()
    found = _found()
    return found[1] if found else 0


def home() -> Path:
    return program().parent.parent
