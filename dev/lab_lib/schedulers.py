"""The schedulers: they share the services, and the first of them makes the vault."""

import subprocess
from pathlib import Path
from typing import Any, Optional

from . import credentials, paths, ports, proc, ringvault
from .errors import LabError
from .progress import step
from .state import State


def _folder(index: int) -> Path:
    return paths.SERVICES / f"scheduler{index}"


def _write(state: State, entry: dict[str, Any]) -> Path:
    return paths.write(
        _folder(entry["index"]) / "scheduler.toml",
        ringvault.with_options(
            state,
            "scheduler",
            {
                "id": entry["id"],
                "listen": f"127.0.0.1:{entry['port']}",
                "postgres": {"url_file": str(credentials.file("postgres-url"))},
                "rabbitmq": {"url_file": ringvault.rabbitmq_url_file("scheduler")},
                **ringvault.vault_tables(state),
                "signing": {"key_file": str(ringvault.signing_key_file())},
                "api": {"admin_token_file": str(ringvault.admin_token_file())},
            },
        ),
    )


def _init_vault(config: Path, encrypt: bool) -> None:
    with step("the vault: initialised" + (", encrypted" if encrypt else "")):
        command = [str(ringvault.bin_dir() / "ringvault"), "vault", "init", "--config", str(config)]
        command += ["--encrypt"] if encrypt else []
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        # 6 is a conflict: it is there already.
        if done.returncode not in (0, 6):
            raise LabError(
                f"`ringvault vault init` ended with {done.returncode}: {done.stdout.decode(errors='replace')}"
            )


def start(state: State, entry: dict[str, Any], wait: bool = True) -> None:
    """Starts one scheduler, on a vault that is made before if it is not there, and waits until it is ready."""
    if proc.ready(entry.get("process")):
        return
    proc.stop([entry.get("process")])
    entry["port"] = ports.choose("scheduler", entry.get("port", 0))
    config = _write(state, entry)
    log = _folder(entry["index"]) / "scheduler.log"
    if not state.services["store"].get("vault"):
        _init_vault(config, bool(state.services["store"].get("encrypt")))
        state.services["store"]["vault"] = True
    with step(f"scheduler {entry['id']}: {'ready' if wait else 'started'}"):
        entry.update(config=str(config), log=str(log), url=f"http://127.0.0.1:{entry['port']}")
        entry["process"] = ringvault.spawn("ringvault-scheduler", config, log)
        state.save()
        ready = entry["url"] + "/readyz"
        if wait:
            proc.wait_for(f"scheduler {entry['id']}", lambda: ringvault.get(ready)[0] == 200, entry["process"], log)
        entry["process"]["ready"] = True
        state.save()


def settle(state: State, count: Optional[int]) -> list[dict[str, Any]]:
    """Records as many schedulers as asked for (never fewer than there are)."""
    entries = state.services.setdefault("schedulers", [])
    while len(entries) < (count or 1):
        index = len(entries) + 1
        entries.append({"index": index, "id": f"sched-{index}", "port": 0, "process": None})
    return entries


def stop(state: State, index: Optional[int] = None, kill: bool = False) -> None:
    entries = [entry for entry in state.services.get("schedulers", []) if index in (None, entry["index"])]
    ringvault.stop([(f"scheduler {entry['id']}", entry) for entry in entries], kill)
