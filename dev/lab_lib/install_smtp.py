"""A mail server that tests send to: aiosmtpd, from PyPI."""

from pathlib import Path

from . import install_apt, python_env

NAME = "smtp"
AIOSMTPD = "1.4.6"


def ensure() -> Path:
    """Its Python: `python -m aiosmtpd`."""
    install_apt.ensure(install_apt.python_packages())
    return python_env.ensure("aiosmtpd", AIOSMTPD)
