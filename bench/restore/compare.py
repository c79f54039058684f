"""Times the restore of one node's tables by Ringvault, Medusa with `nodetool import`, and Medusa with `sstableloader`.

Given by `bench/run restore`: a folder beside the lab, with the SSTables; the lab. The tables are emptied before each
restore. After each of them the node must hold as many bytes as before.
"""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import measure
import medusa_config
import programs
import reports
from lab_lib import install_java, java
from lab_lib.java_flags import modules

WORK = pathlib.Path(sys.argv[1])
RESULTS = pathlib.Path(sys.argv[2])
LAB, MEDUSA, RCLONE = (os.environ[f"RINGVAULT_BENCH_{name}"] for name in ("LAB", "MEDUSA", "RCLONE"))
ROUNDS = int(os.environ.get("RINGVAULT_BENCH_ROUNDS", "2"))
CLUSTER = KEYSPACE = "bench"
TABLES = ("large", "small")


def run(command, env=None):
    return programs.timed(command, WORK / "log", env)


def ask(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


STATUS = json.loads(ask(LAB, "status", "--json"))
STORE = STATUS["services"]["store"]
NODE = STATUS["clusters"][CLUSTER]["nodes"][0]
CONF = pathlib.Path(NODE["conf"])
NODETOOL = NODE["nodetool"]
LIBRARY = install_java.library(STATUS["clusters"][CLUSTER]["cassandra"])
ACCESS, SECRET = (pathlib.Path(STORE[f"{name}_key_file"]).read_text().strip() for name in ("access", "secret"))


def cql(statement):
    run([LAB, "cql", "--cluster", CLUSTER, "-e", statement])


def live_bytes(table):
    """Of the SSTables that the node has of a table."""
    known = json.loads(ask(NODETOOL, "tablestats", "-F", "json", f"{KEYSPACE}.{table}"))
    return int(known[KEYSPACE]["tables"][table]["space_used_live"])


def fill():
    """Brings the SSTables to the node as they are; none is compacted with another."""
    cql(f"CREATE KEYSPACE {KEYSPACE} WITH replication = {{'class': 'NetworkTopologyStrategy', '{NODE['dc']}': 1}}")
    for table in TABLES:
        cql(f"CREATE TABLE {KEYSPACE}.{table} (id bigint PRIMARY KEY, data blob) WITH compaction = "
            "{'class': 'SizeTieredCompactionStrategy', 'enabled': 'false'}")
        run([NODETOOL, "import", KEYSPACE, table, WORK / "data" / "both" / KEYSPACE / table])


def empty(table):
    cql(f"TRUNCATE {KEYSPACE}.{table}")
    run([NODETOOL, "clearsnapshot", "--all"])


class Ringvault:
    name = "ringvault"
    program = pathlib.Path(STATUS["bin_dir"]) / "ringvault"
    env = {"RINGVAULT_SERVER": STATUS["server"], "RINGVAULT_TOKEN_FILE": STATUS["token_file"]}

    def __init__(self):
        self.servants = [NODE["worker"]["pid"], *(one["pid"] for one in STATUS["services"]["schedulers"])]

    def backup(self):
        run([self.program, "backup", "create", "-c", CLUSTER, "--name", "one", "--keyspace", KEYSPACE, "--wait"], self.env)

    def restore(self, table, take):
        take.run([self.program, "restore", "run", "--from", "one", "--to", CLUSTER, "--table", f"{KEYSPACE}.{table}",
                  "--wait"], self.env)


# Where Medusa finds the node.
BESIDE = f"""config_file = {CONF}/cassandra.yaml
nodetool_executable = {NODETOOL}
nodetool_flags =
resolve_ip_addresses = False
use_sudo = False
check_running = true"""


class Medusa:
    """Its own backup of the same node; what it downloads is imported."""

    name = "medusa, import"
    servants = ()
    config = WORK / "medusa.ini"
    fetched = WORK / "medusa"

    def backup(self):
        medusa_config.write(self.config, endpoint=STORE["endpoint"], bucket=STORE["bucket"], prefix="medusa",
                            access=ACCESS, secret=SECRET, node=NODE["address"], cassandra=BESIDE)
        self.medusa(run, "backup-node", "--backup-name", "one", "--mode", "full")

    def medusa(self, how, *words):
        how([MEDUSA, "--config-file", self.config, *words], {"HOME": str(WORK)})

    def restore(self, table, take):
        self.fetched.mkdir()
        self.medusa(take.run, "download", "--backup-name", "one", "--table", f"{KEYSPACE}.{table}",
                    "--download-destination", self.fetched)
        # KEYSPACE/TABLE-ID in it; Cassandra's loader takes the names from the path.
        brought = self.fetched / KEYSPACE / table
        next((self.fetched / KEYSPACE).glob(f"{table}-*")).rename(brought)
        self.load(table, brought, take)
        shutil.rmtree(self.fetched)

    def load(self, table, folder, take):
        take.run([NODETOOL, "import", KEYSPACE, table, folder])


class Loader(Medusa):
    """The same download, streamed to the node as Medusa does for a ring of another shape."""

    name = "medusa, sstableloader"

    def backup(self):
        """It is Medusa's."""

    def load(self, table, folder, take):
        unlimited = ("--throttle-mib", "0", "--entire-sstable-throttle-mib", "0")
        take.run([java.program(), "-Xmx256m", *modules(), f"-Dlogback.configurationFile={CONF}/logback-tools.xml",
                  "-cp", f"{LIBRARY}/*", "org.apache.cassandra.tools.BulkLoader", "-d", NODE["address"],
                  "-f", CONF / "cassandra.yaml", "--no-progress", *unlimited, folder])


class Rclone:
    """Medusa's objects as files, and nothing else: what the store gives to whoever asks well."""

    name = "rclone, no load"
    servants = ()
    env = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in {
        "TYPE": "s3", "PROVIDER": "Minio", "ENDPOINT": STORE["endpoint"], "ACCESS_KEY_ID": ACCESS,
        "SECRET_ACCESS_KEY": SECRET}.items()}

    def backup(self):
        """It reads Medusa's."""

    def restore(self, table, take):
        to = WORK / "rclone"
        take.run([RCLONE, "--config", "/dev/null", "--transfers", "8", "--include", f"**/{KEYSPACE}/{table}-*/**", "copy",
                  f"bench:{STORE['bucket']}/medusa", to], self.env)
        brought = sum(path.stat().st_size for path in to.rglob("*-Data.db"))
        if brought < HELD[table] / 2:
            sys.exit(f"rclone brought {brought} bytes of {table}")
        shutil.rmtree(to)


def turn(kind, table):
    empty(table)
    with measure.Measure(NODE["pid"], kind.servants, WORK, run) as take:
        kind.restore(table, take)
    if not isinstance(kind, Rclone) and live_bytes(table) < 0.99 * HELD[table]:
        sys.exit(f"{kind.name} brought back {live_bytes(table)} of {HELD[table]} bytes of {table}")
    return take.figures


fill()
HELD = {table: live_bytes(table) for table in TABLES}
if not all(HELD.values()):
    sys.exit(f"the node took nothing: {HELD}")
KINDS = [Ringvault(), Medusa(), Loader(), Rclone()]
for kind in KINDS:
    kind.backup()
found = {table: {kind.name: [] for kind in KINDS} for table in TABLES}
for number in range(ROUNDS):
    for kind in KINDS[number % 4:] + KINDS[:number % 4]:
        for table in TABLES:
            print(f"[bench] round {number + 1}: {kind.name}, {table}", file=sys.stderr)
            found[table][kind.name].append(turn(kind, table))

report = {"machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()}, "bytes": HELD,
          "rounds": ROUNDS, "tables": found}
reports.keep(RESULTS, "restore", report)

# The least over the rounds: what other work on the machine added is not the program's.
FIGURES = {"seconds": "s", "cpu": "client cpu s", "node_cpu": "Cassandra cpu s", "mib": "client MiB", "disk_mib": "disk MiB"}
table = [["", *FIGURES.values()]]
for name, kinds in found.items():
    for kind, rounds in kinds.items():
        least = [min(one[figure] for one in rounds) for figure in FIGURES]
        table.append([f"{name}: {kind}", *(f"{value:.1f}" if value < 100 else f"{value:.0f}" for value in least)])
held = ", ".join(f"{table} {size / measure.MIB:.0f} MiB" for table, size in HELD.items())
print(f"{held}; the least of {ROUNDS} rounds; load {os.getloadavg()[0]:.1f}")
reports.show(table)
