"""Programs that tests and benchmarks start as Debian has them, by the package that each is in."""

import shutil
from pathlib import Path

from . import install_apt
from .errors import LabError

# promtool checks metrics and tests alerts; rclone is what benchmarks measure transfers by.
PACKAGES = {"promtool": "prometheus", "rclone": "rclone"}


def ensure(name: str) -> Path:
    package = PACKAGES[name]
    if not shutil.which(name):
        install_apt.ensure([package])
    found = shutil.which(name)
    if not found:
        raise LabError(f"there is no {name}. Next: apt-get install {package}", 9)
    return Path(found)
