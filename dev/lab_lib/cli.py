"""The command line of `dev/lab`."""

import argparse
import json
import sys
from typing import Callable, Optional

from . import commands, paths, up
from .errors import LabError
from .progress import interrupted

_DESCRIPTION = """\
The local lab: PostgreSQL, RabbitMQ, an S3 server, any number of Cassandra clusters, and Ringvault on top.
Installs what is missing, reuses what is there, and never touches services that are not its own."""

_EPILOG = f"""\
examples:
  dev/lab up                                        three nodes of Cassandra 5.0.4, one scheduler, three workers
  dev/lab up --no-ringvault                         the same without building or starting Ringvault
  dev/lab up --cluster old --cassandra 4.1.x        a second cluster beside the first
  dev/lab up --cluster tries --sstable bti          Cassandra 5.0 with storage_compatibility_mode NONE
  dev/lab up --services-only --no-ringvault         PostgreSQL, RabbitMQ and the store alone
  dev/lab status --json                             every address, credential file and data folder
  eval "$(dev/lab env)"                             `ringvault` in this shell, for this lab
  dev/lab cql -e 'SELECT * FROM system.local' --json
  dev/lab nodetool --node 2 status
  dev/lab stop-node 3 --kill && dev/lab start-node 3
  dev/lab down --purge                              ends every process and deletes all data

environment:
  RINGVAULT_LAB_DIR             the lab's folder (now {paths.LAB}); another folder is another lab
  XDG_CACHE_HOME                downloads and builds go to ringvault/ in it (now {paths.CACHE})
  CARGO_TARGET_DIR              where Ringvault is built (now {paths.target_dir()})
  RINGVAULT_LAB_PROFILE         debug (default) or release
  RINGVAULT_LAB_<NAME>_PORT     first choice of a port: POSTGRES, RABBITMQ, STORE, SCHEDULER, JMX, EPMD

exit codes: 0 ok, 1 failed, 2 usage, 5 not found, 6 conflict, 9 a dependency is missing or does not answer"""


def _pair(text: str) -> tuple[str, object]:
    """`name=value`; the value is read as JSON where it is JSON, so that numbers and booleans come out as such."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev/lab", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands_of = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, run: Callable, text: str) -> argparse.ArgumentParser:
        sub = commands_of.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def cluster_option(sub: argparse.ArgumentParser, default: object = "lab") -> None:
        sub.add_argument("--cluster", "-c", metavar="NAME", default=default, help="which cluster (default: lab)")

    _add_up(add("up", up.run, "start what is not running; what is up stays as it is"))
    sub = add("down", up.down, "stop a cluster and its workers, or everything")
    sub.add_argument("--cluster", "-c", metavar="NAME", help="only this cluster; without it the services stop as well")
    sub.add_argument("--purge", action="store_true", help="delete the data too")
    sub = add("status", commands.status, "what is there and where")
    sub.add_argument("--json", action="store_true", help="one JSON document")
    add("env", commands.env, "lines for a shell to read, so that `ringvault` is found and speaks to this lab")
    sub = add("install", up.install, "install the Debian packages that are missing; start nothing")
    sub.add_argument("--build-only", action="store_true", help="only what building Ringvault needs")
    sub.add_argument("--chaos", action="store_true", help="also what dev/chaos needs")
    sub = add("tool", commands.tool, "install what tests start (a store, or what drives a browser) if it is missing, and print where it is")
    sub.add_argument("name", choices=commands.TOOLS)
    sub = add(
        "logs",
        commands.logs,
        "list the logs, or print one: postgres, rabbitmq, store, scheduler1, lab/node1, lab/worker1 …",
    )
    sub.add_argument("name", nargs="?", metavar="NAME")
    sub.add_argument("-f", "--follow", action="store_true")
    sub.add_argument("-n", "--lines", type=_positive, default=200)

    cluster_option(add("add-node", commands.add_node, "one more node joins and takes its share of the data"))
    sub = add("stop-node", commands.stop_node, "stop a node; its worker stays")
    _add_node(sub, cluster_option, kill=True, wait=False)
    sub = add("start-node", commands.start_node, "start a node and wait until it is up and normal")
    _add_node(sub, cluster_option, kill=False, wait=True)
    sub.add_argument(
        "--replace", action="store_true", help="an empty node takes the place of the dead one at its address"
    )
    sub = add("wipe-node", commands.wipe_node, "kill a node and delete all its data, as if its machine were lost")
    _add_node(sub, cluster_option, kill=False, wait=False)
    sub.add_argument("--worker", action="store_true", help="its worker's state as well")
    for action in ("start", "stop", "restart"):
        sub = add(f"{action}-worker", commands.worker, f"{action} a node's worker")
        sub.set_defaults(action=action, kill=False)
        _add_node(sub, cluster_option, kill=action != "start", wait=action != "stop")
        sub = add(f"{action}-scheduler", commands.scheduler, f"{action} a scheduler")
        sub.set_defaults(action=action, kill=False)
        _add_node(sub, None, kill=action != "start", wait=action != "stop")

    sub = add("cql", commands.cql, "run CQL: -e STATEMENTS, a file, or stdin")
    cluster_option(sub)
    sub.add_argument("--node", "-n", type=_positive, metavar="N", help="the coordinator (default: the first that runs)")
    sub.add_argument("-e", "--execute", metavar="STATEMENTS")
    sub.add_argument("-k", "--keyspace", metavar="NAME")
    sub.add_argument("--consistency", default="ONE", metavar="LEVEL", help="default ONE")
    sub.add_argument("--json", action="store_true", help="a JSON object a row, no table")
    sub.add_argument("file", nargs="?", metavar="FILE")
    sub = add("nodetool", commands.nodetool, "run nodetool against a node: [--cluster NAME] [--node N] ARGS…")
    cluster_option(sub)
    sub.add_argument("--node", "-n", type=_positive, default=1, metavar="N")
    sub = add("psql", commands.psql, "psql on Ringvault's database: [--admin] ARGS…")
    sub.add_argument("--admin", action="store_true", help="as superuser, on the database postgres")
    add("rabbitmqctl", commands.rabbitmqctl, "rabbitmqctl on the lab's broker: ARGS…")
    add("python", commands.python, "the lab's Python, with cassandra-driver and pika: ARGS…")
    add("build", commands.build, "build Ringvault; prints the folder with the programs")
    return parser


def _add_node(sub: argparse.ArgumentParser, cluster_option: Optional[Callable], kill: bool, wait: bool) -> None:
    sub.add_argument("node", type=_positive, metavar="N", help="its number, as in `dev/lab status`")
    if cluster_option:
        cluster_option(sub)
    if kill:
        sub.add_argument("--kill", action="store_true", help="SIGKILL instead of SIGTERM")
    if wait:
        sub.add_argument("--no-wait", action="store_true", help="do not wait until it is ready")


def _add_up(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--cluster", "-c", default="lab", metavar="NAME", help="the cluster to start (default: lab)")
    made = sub.add_argument_group("settled when the cluster is made")
    made.add_argument(
        "--nodes", type=_positive, metavar="N", help="default 3; they go round the data centers and racks"
    )
    made.add_argument(
        "--cassandra", metavar="VERSION", help="5.0.4 (default), 4.1.10, another 5.0 or 4.1 release, or 5.0.x"
    )
    made.add_argument("--sstable", choices=["big", "bti"], help="big (default; nb files) or bti (5.0 only; da files)")
    made.add_argument(
        "--rf",
        type=_positive,
        metavar="N",
        help="replicas a data center by default (3, or as many as nodes)",
    )
    made.add_argument("--racks", type=_positive, metavar="N", help="racks a data center (default 1)")
    made.add_argument("--dcs", type=_positive, metavar="N", help="data centers (default 1)")
    made.add_argument("--vnodes", type=_positive, metavar="N", help="tokens a node (default 16)")
    made.add_argument("--data-dirs", type=_positive, metavar="N", help="data folders a node (default 1)")
    made.add_argument("--heap", metavar="SIZE", help="Java heap a node (default 768m)")
    made.add_argument(
        "--auth", action="store_true", help="PasswordAuthenticator and CassandraAuthorizer, cassandra/cassandra"
    )
    made.add_argument(
        "--node-option", type=_pair, action="append", metavar="K=V", help="a line of cassandra.yaml; repeatable"
    )
    made.add_argument("--jvm-option", action="append", metavar="FLAG", help="a flag for the nodes' Java; repeatable")
    lab = sub.add_argument_group("of the lab")
    lab.add_argument("--s3", choices=["versitygw", "minio"], help="the S3 server (default versitygw)")
    lab.add_argument("--store", choices=["s3", "folder"], help="an S3 server (default) or a plain folder")
    lab.add_argument("--encrypt", action="store_true", help="an encrypted vault, with a key of the lab's own")
    lab.add_argument(
        "--lock", metavar="PERIOD", help="a bucket with Object Lock; each backup is locked for so long, such as 1h"
    )
    lab.add_argument("--management", action="store_true", help="RabbitMQ's management plugin, when RabbitMQ is started")
    lab.add_argument("--services-only", action="store_true", help="no Cassandra")
    ringvault = sub.add_argument_group("Ringvault")
    ringvault.add_argument("--schedulers", type=_positive, metavar="N", help="default 1")
    ringvault.add_argument(
        "--control", choices=["jolokia", "nodetool"], help="how workers steer their node (default jolokia)"
    )
    for program in ("scheduler", "worker"):
        ringvault.add_argument(
            f"--{program}-option",
            type=_pair,
            action="append",
            metavar="SECTION.K=V",
            help=f"a line of every {program}'s configuration, when it is started next; repeatable",
        )
    ringvault.add_argument("--no-build", action="store_true", help="start the programs that were built before")
    ringvault.add_argument("--no-ringvault", action="store_true", help="neither build nor start schedulers and workers")


# Commands whose arguments belong to another program, with their own options (and how many values those take),
# which stand before the first argument that is none of them.
_PASSED_ON = {
    "nodetool": {"--cluster": 1, "-c": 1, "--node": 1, "-n": 1, "--help": 0},
    "psql": {"--admin": 0, "--help": 0},
    "rabbitmqctl": {"--help": 0},
    "python": {},
}


def _cut(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is the lab's own to parse, and what goes to the other program as it is."""
    own = _PASSED_ON.get(arguments[0] if arguments else "")
    if own is None:
        return arguments, []
    end = 1
    while end < len(arguments) and arguments[end].partition("=")[0] in own:
        end += 1 if "=" in arguments[end] else 1 + own[arguments[end]]
    return arguments[:end], arguments[end:]


def main(arguments: list[str]) -> int:
    arguments, passed_on = _cut(arguments)
    options = _parser().parse_args(arguments)
    options.arguments = passed_on
    try:
        return options.run(options)
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        interrupted()
