"""promtool, which checks metrics and tests alerts: Debian's, from its package of Prometheus."""

import shutil
from pathlib import Path

from . import install_apt
from .errors import LabError

NAME = "promtool"


def ensure() -> Path:
    if not shutil.which(NAME):
        install_apt.ensure(["prometheus"])
    found = shutil.which(NAME)
    if not found:
        raise LabError("there is no promtool. Next: apt-get install prometheus", 9)
    return Path(found)
