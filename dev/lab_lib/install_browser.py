"""A browser and what drives it: Debian's Chromium, and Playwright in a Python environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import install_apt, paths
from .proc import run
from .progress import step

NAME = "browser"
PLAYWRIGHT = "1.65.2"


def ensure() -> Path:
    """Its Python, which has Playwright and finds Chromium on the PATH."""
    packages = [] if shutil.which("chromium") else ["chromium", "fonts-dejavu-core"]
    install_apt.ensure(packages + install_apt.python_packages())
    python = _folder() / "bin" / "python"
    if python.exists():
        return python
    with step(f"fetching playwright {PLAYWRIGHT} (once)"):
        partial = _folder().with_name(f"{_folder().name}.partial.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        paths.make(partial)
        # Without pip: an environment with it cannot be moved to its place.
        run([sys.executable, "-m", "venv", "--without-pip", str(partial)], "making a Python environment")
        site = next((partial / "lib").glob("python*")) / "site-packages"
        pip = [str(_pip()), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", str(site)]
        run([*pip, f"playwright=={PLAYWRIGHT}"], "installing playwright", stdin=subprocess.DEVNULL)
        shutil.rmtree(_folder(), ignore_errors=True)
        partial.rename(_folder())
    return python


def _pip() -> Path:
    from . import install_python

    install_python.ensure()
    return install_python.interpreter()


def _folder() -> Path:
    return paths.CACHE / f"playwright-{PLAYWRIGHT}-{sys.version_info[0]}.{sys.version_info[1]}"
