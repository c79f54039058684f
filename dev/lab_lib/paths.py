"""Where the lab keeps its files.

`CACHE` holds what is downloaded or built and may be shared by labs; `LAB` holds one lab: its state,
credentials, configuration, logs and data. Both can be moved by the environment.
"""

import hashlib
import os
from pathlib import Path

HOME = Path(os.environ.get("HOME") or os.path.expanduser("~"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or HOME / ".cache").absolute() / "ringvault"
LAB = Path(os.environ.get("RINGVAULT_LAB_DIR") or CACHE / "lab").absolute()
REPOSITORY = Path(__file__).resolve().parent.parent.parent

CREDENTIALS = LAB / "credentials"
SERVICES = LAB / "services"
CLUSTERS = LAB / "clusters"
TOOLS = CACHE / "bin"

# A short name for this lab, unlike that of any other lab on the machine.
LAB_ID = hashlib.sha256(str(LAB).encode()).hexdigest()[:8]


def target_dir() -> Path:
    """Cargo's target folder: the caller's, or one in the cache."""
    chosen = os.environ.get("CARGO_TARGET_DIR")
    return Path(chosen).absolute() if chosen else CACHE / "target"


def make(folder: Path, mode: int = 0o700) -> Path:
    folder.mkdir(parents=True, exist_ok=True, mode=mode)
    return folder


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Replaces a file in one step, so that a reader never sees half of it."""
    make(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    os.chmod(temporary, mode)
    os.replace(temporary, path)
    return path
