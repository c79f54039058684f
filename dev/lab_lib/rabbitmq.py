"""A RabbitMQ node of the lab's own: own name, cookie, ports, data and epmd, loopback only.

Users and the virtual host come from a definitions file that the broker reads at each start (so `guest` is never
made). epmd is started by the lab itself on its own port, so that it can be taken down by its pid.
"""

import base64
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from . import amqp, credentials, paths, ports, proc
from .errors import LabError
from .progress import step
from .state import State

VIRTUAL_HOST = "ringvault"
_SCRIPTS = Path("/usr/lib/rabbitmq/bin")

# What each user may configure, write and read. Binding a queue needs to write it and to read its exchange.
_OWN_QUEUE = r"ringvault\.worker\..*"
PERMISSIONS = {
    "scheduler": (".*", ".*", ".*"),
    # Its own queue, bound to the task exchange; reports, and what it cannot read, go out. It can neither publish
    # tasks nor read reports. The same as in shared/queue's topology.
    "worker": (
        f"^{_OWN_QUEUE}$",
        rf"^(ringvault\.(reports|dead)|{_OWN_QUEUE})$",
        rf"^(ringvault\.tasks|{_OWN_QUEUE})$",
    ),
    # Another system: it asks, and listens to events over queues of its own.
    "requester": (r"^requester\..*$", r"^(ringvault\.requests|requester\..*)$", r"^(ringvault\.events|requester\..*)$"),
    "administrator": (".*", ".*", ".*"),
}


def data() -> Path:
    """Queues and definitions."""
    return folder() / "data"


def folder() -> Path:
    return paths.SERVICES / "rabbitmq"


def url(user: str, port: int) -> str:
    return f"amqp://{user}:{credentials.secret(f'rabbitmq-{user}-password')}@127.0.0.1:{port}/{VIRTUAL_HOST}"


def _definitions() -> dict[str, Any]:
    return {
        "users": [
            {
                "name": name,
                "password_hash": _hash(credentials.secret(f"rabbitmq-{name}-password")),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"] if name == "administrator" else [],
                "limits": {},
            }
            for name in PERMISSIONS
        ],
        "vhosts": [{"name": VIRTUAL_HOST}],
        "permissions": [
            {"user": name, "vhost": VIRTUAL_HOST, "configure": configure, "write": write, "read": read}
            for name, (configure, write, read) in PERMISSIONS.items()
        ],
    }


def _hash(password: str) -> str:
    """RabbitMQ's salted SHA-256. The salt follows from the password, so that a restart changes nothing."""
    salt = hashlib.sha256(b"salt" + password.encode()).digest()[:4]
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def _environment(entry: dict[str, Any]) -> dict[str, str]:
    """Only what the broker needs: settings of a machine-wide RabbitMQ in our environment must not reach it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_"))}
    return {
        **kept,
        "HOME": str(folder()),
        "ERL_EPMD_PORT": str(entry["epmd_port"]),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": entry["node"],
        "RABBITMQ_CONF_ENV_FILE": str(folder() / "no-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(folder() / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder() / "no-advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder() / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(data()),
        "RABBITMQ_LOG_BASE": str(folder()),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_DIST_PORT": str(entry["distribution_port"]),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        # Makes the start script become the Erlang machine, so that the recorded pid is the broker's.
        "RUNNING_UNDER_SYSTEMD": "true",
    }


def _configure(entry: dict[str, Any], management: bool) -> None:
    definitions = folder() / "definitions.json"
    paths.write(definitions, json.dumps(_definitions(), indent=1) + "\n", 0o600)
    lines = [
        f"listeners.tcp.default = 127.0.0.1:{entry['port']}",
        f"load_definitions = {definitions}",
        "loopback_users = none",
        "log.console = true",
        "log.console.level = info",
    ]
    if management:
        lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {entry['management_port']}"]
    paths.write(folder() / "rabbitmq.conf", "\n".join(lines) + "\n", 0o600)
    paths.write(folder() / "enabled_plugins", "[rabbitmq_management].\n" if management else "[].\n")
    cookie = folder() / ".erlang.cookie"
    if not cookie.exists():
        paths.write(cookie, credentials.secret("rabbitmq-cookie"), 0o400)


def _find_epmd() -> str:
    found = shutil.which("epmd") or next(iter(glob.glob("/usr/lib/erlang/erts-*/bin/epmd")), None)
    if not found:
        raise LabError("epmd is not installed. Next: apt-get install rabbitmq-server", 9)
    return found


def up(state: State, management: bool) -> None:
    entry = state.services.setdefault("rabbitmq", {})
    if proc.ready(entry.get("process")) and proc.alive(entry.get("epmd_process")):
        return
    down(state)
    with step("RabbitMQ: ready"):
        paths.make(folder())
        entry["node"] = f"ringvault-{paths.LAB_ID}@localhost"
        entry["port"] = ports.choose("rabbitmq", entry.get("port", 0))
        entry["distribution_port"] = ports.choose("rabbitmq_distribution", entry.get("distribution_port", 0))
        entry["epmd_port"] = ports.choose("epmd", entry.get("epmd_port", 0))
        entry["management_port"] = (
            ports.choose("rabbitmq_management", entry.get("management_port") or 0) if management else None
        )
        entry["log"] = str(folder() / "rabbitmq.log")
        _configure(entry, management)
        environment = _environment(entry)
        command = [_find_epmd(), "-port", str(entry["epmd_port"]), "-address", "127.0.0.1"]
        entry["epmd_process"] = proc.spawn(command, folder() / "epmd.log", str(entry["epmd_port"]), environment)
        state.save()
        proc.wait_for("epmd", lambda: ports.answers("127.0.0.1", entry["epmd_port"]), entry["epmd_process"])
        command = [str(_SCRIPTS / "rabbitmq-server")]
        entry["process"] = proc.spawn(command, Path(entry["log"]), "rabbit", environment, cwd=str(folder()))
        state.save()
        for user in PERMISSIONS:
            credentials.keep(f"rabbitmq-{user}-url", url(user, entry["port"]))
        proc.wait_for(
            "RabbitMQ",
            lambda: amqp.can_log_in(url("scheduler", entry["port"])),
            entry["process"],
            Path(entry["log"]),
        )
        entry["process"]["ready"] = True
        state.save()


def down(state: State) -> None:
    entry = state.services.get("rabbitmq", {})
    proc.stop([entry.get("process")])
    proc.stop([entry.get("epmd_process")], signal.SIGTERM, 10)


def control(state: State, arguments: list[str]) -> int:
    """rabbitmqctl against the lab's node."""
    entry = state.services.get("rabbitmq", {})
    if not proc.alive(entry.get("process")):
        raise LabError("this lab's RabbitMQ is not running. Next: dev/lab up", 9)
    return subprocess.call([str(_SCRIPTS / "rabbitmqctl"), "-n", entry["node"], *arguments], env=_environment(entry))
