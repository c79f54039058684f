"""A browser and what drives it: Debian's Chromium, and Playwright in a Python environment of its own."""

import shutil
from pathlib import Path

from . import install_apt, python_env

NAME = "browser"
PLAYWRIGHT = "1.65.2"


def ensure() -> Path:
    """Its Python, which has Playwright and finds Chromium on the PATH."""
    packages = [] if shutil.which("chromium") else ["chromium", "fonts-dejavu-core"]
    install_apt.ensure(packages + install_apt.python_packages())
    return python_env.ensure("playwright", PLAYWRIGHT)
