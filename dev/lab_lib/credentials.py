"""Random secrets, made once, each in a file of its own that only its owner may read (0600)."""

import secrets
from pathlib import Path

from . import paths


def file(name: str) -> Path:
    return paths.CREDENTIALS / name


def secret(name: str, length: int = 24) -> str:
    """The secret `name`: `length` random bytes in hex, made at first use."""
    path = file(name)
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        paths.make(path.parent)
        paths.write(path, secrets.token_hex(length) + "\n", 0o600)
        return path.read_text().strip()


def keep(name: str, text: str) -> Path:
    """Writes something derived (a URL with a password in it) beside the secrets; returns its file."""
    path = file(name)
    if not path.exists() or path.read_text() != text + "\n":
        paths.write(path, text + "\n", 0o600)
    return path
