"""Times each step of a backup's life with Ringvault, Medusa and rclone, taking turns on one server.

Given by `bench/run vault`: the folder of everything, the programs, the server. Each step is a process of its own;
its seconds, CPU and peak memory are what the operating system says of it when it has ended.
"""

import os
import pathlib
import platform
import shutil
import sys

import client
import medusa_config
import programs
import reports

WORK = pathlib.Path(sys.argv[1])
RESULTS = pathlib.Path(sys.argv[2])
ENDPOINT, ACCESS, SECRET = (os.environ[f"RINGVAULT_BENCH_S3_{name}"] for name in ("ENDPOINT", "ACCESS", "SECRET"))
PYTHON, RCLONE = (os.environ[f"RINGVAULT_BENCH_{name}"] for name in ("PYTHON", "RCLONE"))
MEDUSA = pathlib.Path(__file__).with_name("peer.py")
ROUNDS = int(os.environ.get("RINGVAULT_BENCH_ROUNDS", "2"))
DATA = WORK / "data"


def timed(command, env=None):
    return programs.timed(command, WORK / "log", env)


class Ringvault(client.Vault):
    name = "ringvault"

    def __init__(self, prefix):
        folder = WORK / f"ringvault-{prefix}"
        folder.mkdir()
        files = {"access": ACCESS, "secret": SECRET}
        for name, content in files.items():
            (folder / name).write_text(content)
        super().__init__(folder, {
            "url": f"s3://bench/ringvault-{prefix}", "endpoint": ENDPOINT,
            "access_key_file": str(folder / "access"), "secret_key_file": str(folder / "secret"),
        })

    full = client.Vault.backup


class Medusa:
    name = "medusa"

    def __init__(self, prefix):
        self.file = WORK / f"medusa-{prefix}.ini"
        medusa_config.write(self.file, endpoint=ENDPOINT, bucket="bench", prefix=f"medusa-{prefix}", access=ACCESS,
                            secret=SECRET, node="node-1")

    def step(self, *words):
        return timed([PYTHON, MEDUSA, self.file, *words], {"HOME": str(WORK)})

    def backup(self, name, data):
        return self.step("backup", name, data)

    def full(self, name, data):
        return self.step("full", name, data)

    def presence(self, name):
        return self.step("verify", name)

    # It compares the store's own tag, and reads no byte again: no digest level.
    digest = None

    def download(self, name, to):
        to.mkdir(parents=True)
        return self.step("download", name, to)

    def delete(self, name):
        return self.step("delete", name)

    def list(self):
        return self.step("list", "-")


class Rclone:
    name = "rclone"

    def __init__(self, prefix):
        self.at = f"bench:bench/rclone-{prefix}"
        self.env = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in {
            "TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": ENDPOINT, "ACCESS_KEY_ID": ACCESS,
            "SECRET_ACCESS_KEY": SECRET}.items()}

    def step(self, *words):
        return timed([RCLONE, "--config", "/dev/null", "--transfers", "8", *words], self.env)

    def backup(self, name, data):
        return self.step("copy", data, self.at)

    full = backup

    def download(self, name, to):
        return self.step("copy", self.at, to)

    def delete(self, name):
        return self.step("purge", self.at)

    presence = digest = list = None


def rows(kind, prefix):
    """Every step, in order, of one program."""
    steps = {}

    def take(row, call, *args):
        if call is not None:
            steps[row] = call(*args)

    one = kind(prefix)
    take("first backup, large", one.backup, "large", DATA / "large")
    take("first backup, small", one.backup, "both", DATA / "both")
    if kind is not Rclone:
        take("unchanged backup", one.backup, "again", DATA / "both")
    take("verify, presence", one.presence, "both")
    take("verify, digest", one.digest, "both")
    to = WORK / "download"
    take("download", one.download, "both", to)
    brought = sum(1 for path in to.rglob("*") if path.is_file())
    if brought < FILES:
        sys.exit(f"{kind.name} brought back {brought} of {FILES} files")
    shutil.rmtree(to)
    take("list backups", one.list)
    other = kind(f"{prefix}-full")
    other.full("full", DATA / "both")
    take("delete a full backup", other.delete, "full")
    return steps


FILES = sum(1 for path in (DATA / "both").rglob("*") if path.is_file())
BYTES = sum(path.stat().st_size for path in (DATA / "both").rglob("*") if path.is_file())
KINDS = [Ringvault, Medusa, Rclone]
found = {kind.name: {} for kind in KINDS}
for turn in range(ROUNDS):
    for kind in KINDS[turn % 3:] + KINDS[:turn % 3]:
        print(f"[bench] round {turn + 1}: {kind.name}", file=sys.stderr)
        for row, figures in rows(kind, f"r{turn}").items():
            found[kind.name].setdefault(row, []).append(figures)


def best(name, row, figure):
    """The least over the rounds: what other work on the machine added is not the program's."""
    figures = found[name].get(row)
    return min(f[figure] for f in figures) if figures else None


ROWS = list(found["ringvault"])
report = {"machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()},
          "data": {"files": FILES, "bytes": BYTES}, "rounds": ROUNDS, "rows": found}
reports.keep(RESULTS, "vault", report)
names = [kind.name for kind in KINDS]
head = ["", *(f"{name} {unit}" for unit in ("s", "cpu s", "MiB") for name in names)]
table = [[row, *("-" if (value := best(name, row, figure)) is None else
                 f"{value:.2f}" if figure != "mib" else f"{value:.0f}"
                 for figure in ("seconds", "cpu", "mib") for name in names)] for row in ROWS]
print(f"{FILES} files, {BYTES / 2**20:.0f} MiB; the least of {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}")
reports.show([head, *table])
