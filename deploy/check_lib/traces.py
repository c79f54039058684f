"""What a Docker engine leaves in the machine's network when it is stopped: a bridge, chains of the packet filter, and
its policy to forward nothing. An engine that the check started leaves none of it."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

_BRIDGE = Path("/sys/class/net/docker0")
_FORWARDS = Path("/proc/sys/net/ipv4/ip_forward")


def before() -> dict[str, Any]:
    """How it is before the engine starts."""
    return {
        "bridge": _BRIDGE.exists(),
        "chains": any("DOCKER" in line for table in ("filter", "nat") for line in _rules(table)),
        "forwards": _FORWARDS.read_text().strip(),
        "accepts": "-P FORWARD ACCEPT" in _rules("filter"),
    }


def clear(was: dict[str, Any]) -> None:
    """Makes it so again. What was there before stays."""
    if not was["chains"]:
        for table in ("nat", "filter"):
            _clear_table(table)
    if was["accepts"]:
        _run("iptables", "-P", "FORWARD", "ACCEPT")
    if not was["bridge"] and _BRIDGE.exists():
        _run("ip", "link", "delete", "docker0")
    _FORWARDS.write_text(was["forwards"])


def _clear_table(table: str) -> None:
    rules = _rules(table)
    for rule in rules:
        if rule.startswith("-A") and ("DOCKER" in rule or "docker0" in rule or "-s 172.17.0.0/16" in rule):
            _run("iptables", "-t", table, "-D", *shlex.split(rule)[1:])
    for rule in rules:
        if rule.startswith("-N DOCKER"):
            _run("iptables", "-t", table, "-X", rule.split()[1])


def _rules(table: str) -> list[str]:
    return _run("iptables", "-t", table, "-S").splitlines()


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    except FileNotFoundError:
        return ""
