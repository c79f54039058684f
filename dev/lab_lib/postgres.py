"""A PostgreSQL server of the lab's own: own data folder, own port, loopback only, no part in the machine's services."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from . import credentials, install_apt, paths, ports, proc
from .errors import LabError
from .progress import step
from .state import State

# Durable (fsync stays on), otherwise sized for a lab. `synchronous_commit` stays on as well: tests judge crashes.
_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
max_wal_size = 512MB
wal_level = replica
max_wal_senders = 2
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_lock_waits = on
shared_preload_libraries = 'pg_stat_statements'
"""


def account() -> tuple[Optional[int], Optional[int]]:
    """Who runs the server: Debian's `postgres` where the lab runs as root (which PostgreSQL refuses), else the caller."""
    if os.geteuid() != 0:
        return None, None
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise LabError(
            "there is no user 'postgres' to run PostgreSQL as. Next: apt-get install postgresql", 9
        ) from None
    return entry.pw_uid, entry.pw_gid


def data_folder() -> Path:
    """Inside the lab, unless the server's user may not walk there (root's home is closed): then in /var/lib."""
    user, _ = account()
    if user is None:
        return paths.SERVICES / "postgres" / "server" / "data"
    try:
        reachable = all(folder.stat().st_mode & 0o001 for folder in paths.LAB.parents)
    except OSError:
        reachable = False
    if reachable:
        for folder in (paths.LAB, paths.SERVICES, paths.SERVICES / "postgres"):
            paths.make(folder).chmod(0o711)
        return paths.SERVICES / "postgres" / "server" / "data"
    return Path("/var/lib/ringvault-lab") / paths.LAB_ID / "postgres" / "data"


def psql(url: str, arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """A psql command line and its environment. The password goes into the latter: command lines can be read by all."""
    parts = urlsplit(url)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment.update(
        PGHOST=parts.hostname or "",
        PGPORT=str(parts.port),
        PGUSER=parts.username or "",
        PGPASSWORD=parts.password or "",
        PGDATABASE=parts.path[1:],
    )
    return [str(install_apt.postgres_bin() / "psql"), "-X", *arguments], environment


def _sql(url: str, statement: str) -> str:
    command, environment = psql(url, ["-Atq", "-v", "ON_ERROR_STOP=1", "-f", "-"])
    with tempfile.TemporaryFile() as text:
        text.write(statement.encode())
        text.seek(0)
        return proc.run(command, "psql", env=environment, stdin=text)


def _initialise(data: Path, user: Optional[int], group: Optional[int]) -> None:
    if (data / "PG_VERSION").exists() and (data / "ringvault.ready").exists():
        return
    with step("PostgreSQL: creating its data folder"):
        shutil.rmtree(data, ignore_errors=True)
        paths.make(data.parent, 0o755)
        os.chmod(data.parent, 0o755)
        data.mkdir(mode=0o700)
        password = credentials.secret("postgres-admin-password")
        password_file = data.parent / "pwfile"
        paths.write(password_file, password + "\n", 0o600)
        if user is not None:
            os.chown(data, user, group)
            os.chown(password_file, user, group)
        command = [
            str(install_apt.postgres_bin() / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        command += ["-A", "scram-sha-256", f"--pwfile={password_file}", "--no-instructions"]
        options: dict[str, Any] = {} if user is None else {"user": user, "group": group, "extra_groups": []}
        try:
            proc.run(command, "initdb", cwd="/", **options)
        finally:
            password_file.unlink()
        with open(data / "postgresql.conf", "a") as file:
            file.write("\ninclude 'lab.conf'\n")


def urls(port: int) -> tuple[str, str]:
    """The application's and the administrator's connection URL."""
    own = credentials.secret("postgres-password")
    admin = credentials.secret("postgres-admin-password")
    return (
        f"postgres://ringvault:{own}@127.0.0.1:{port}/ringvault",
        f"postgres://postgres:{admin}@127.0.0.1:{port}/postgres",
    )


def _prepare(port: int, marker: Path) -> None:
    """The application's role and database; done once."""
    own, admin = urls(port)
    credentials.keep("postgres-url", own)
    credentials.keep("postgres-admin-url", admin)
    if marker.exists():
        return
    if not _sql(admin, "SELECT 1 FROM pg_roles WHERE rolname = 'ringvault'").strip():
        _sql(admin, f"CREATE ROLE ringvault LOGIN PASSWORD '{credentials.secret('postgres-password')}'")
    if not _sql(admin, "SELECT 1 FROM pg_database WHERE datname = 'ringvault'").strip():
        _sql(admin, "CREATE DATABASE ringvault OWNER ringvault")
    for database in ("postgres", "ringvault"):
        _sql(admin.rsplit("/", 1)[0] + "/" + database, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    marker.touch()


def _remove_stale_pid_file(data: Path) -> None:
    """After a crash or a reboot the pid in it may belong to anybody, and PostgreSQL would refuse to start."""
    try:
        holder = int((data / "postmaster.pid").read_text().split()[0])
        command_line = Path(f"/proc/{holder}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError, IndexError):
        command_line = ""
    if str(data) in command_line:
        raise LabError(f"process {holder} already runs PostgreSQL on {data}, unknown to this lab. Next: end it", 6)
    (data / "postmaster.pid").unlink(missing_ok=True)


def _ready(port: int) -> bool:
    _, admin = urls(port)
    command, environment = psql(admin, ["-Atqc", "SELECT 1"])
    return (
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    )


def up(state: State) -> None:
    entry = state.services.setdefault("postgres", {})
    if proc.ready(entry.get("process")):
        return
    stop(entry)
    user, group = account()
    data = Path(entry["data"]) if entry.get("data") else data_folder()
    _initialise(data, user, group)
    with step("PostgreSQL: ready"):
        port = ports.choose("postgres", entry.get("port", 0))
        paths.write(data / "lab.conf", _SETTINGS.format(port=port), 0o600)
        if user is not None:
            os.chown(data / "lab.conf", user, group)
        _remove_stale_pid_file(data)
        log = paths.SERVICES / "postgres" / "postgres.log"
        command = [str(install_apt.postgres_bin() / "postgres"), "-D", str(data)]
        process = proc.spawn(command, log, str(data), user=user, group=group)
        entry.update(port=port, data=str(data), log=str(log), process=process)
        state.save()
        proc.wait_for("PostgreSQL", lambda: _ready(port), process, log)
        _prepare(port, data / "ringvault.ready")
        process["ready"] = True
        state.save()


def stop(entry: dict[str, Any]) -> None:
    # SIGINT is PostgreSQL's fast shutdown: it does not wait for its clients to leave.
    proc.stop([entry.get("process")], signal.SIGINT)


def down(state: State) -> None:
    stop(state.services.get("postgres", {}))


def purge(state: State) -> None:
    data = state.services.get("postgres", {}).get("data")
    if data:
        shutil.rmtree(Path(data).parent, ignore_errors=True)
