"""Programs from npm that tests start: Azurite, the emulator of Azure Blob Storage, and an OpenID Connect provider."""

import os
import shutil
from pathlib import Path
from typing import Optional

from . import install_apt, paths
from .proc import run
from .progress import step

# Of each the newest that runs on Debian's own Node.js; later ones want Node.js 22.
AZURITE = "azurite-blob"
OPENID = "oidc-provider"
_PACKAGES = {AZURITE: ("azurite", "3.35.0"), OPENID: ("oidc-provider", "8.8.1")}


def find(name: str) -> Optional[Path]:
    """The program from PATH, or what was fetched earlier."""
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    fetched = _place(name)
    return fetched if fetched.exists() else None


def ensure_azurite() -> Path:
    """Its program."""
    return _ensure(AZURITE)


def ensure_openid() -> Path:
    """The folder of the package: it is a library, which a script of the tests' runs."""
    return _ensure(OPENID)


def _ensure(name: str) -> Path:
    present = find(name)
    if present:
        return present
    programs = {"node": "nodejs", "npm": "npm"}
    install_apt.ensure([package for program, package in programs.items() if not shutil.which(program)])
    package, version = _PACKAGES[name]
    folder = _folder(name)
    with step(f"fetching {package} {version} (once)"):
        partial = folder.with_name(f"{package}.partial.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        paths.make(partial)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", f"{package}@{version}"]
        run(command, f"fetching {package}", cwd=str(partial))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    return _place(name)


def _folder(name: str) -> Path:
    package, version = _PACKAGES[name]
    return paths.CACHE / f"{package}-{version}"


def _place(name: str) -> Path:
    modules = _folder(name) / "node_modules"
    return modules / ".bin" / name if name == AZURITE else modules / _PACKAGES[name][0]
