"""One step of Medusa's, as its own commands take it, without a node beside it.

Medusa's command asks a running node for a snapshot, its schema and its tokens. These alone are given here: the snapshot
is a folder of SSTables, as `nodetool snapshot` would leave it. All else, from the first file read to the last
request, is Medusa's own code, called as `medusacli.py` calls it.

    peer.py CONFIG STEP BACKUP [DATA|TO]       steps: backup, full, verify, verify-md5, download, delete, list
"""

import contextlib
import datetime
import pathlib
import sys
from collections import defaultdict

import medusa.backup_node
import medusa.config
import medusa.download
import medusa.listing
import medusa.purge
import medusa.verify
from medusa.cassandra_utils import SnapshotPath


class Session:
    def dump_schema(self):
        return "CREATE KEYSPACE bench WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1};"

    def tokenmap(self):
        return {"node-1": {"tokens": [0], "is_up": True, "rack": "r1", "dc": "dc1"}}

    def get_server_type_and_release_version(self):
        return "cassandra", "5.0.4"


class Snapshot(contextlib.AbstractContextManager):
    def __init__(self, root):
        self.root = root

    def find_dirs(self):
        for keyspace in sorted(self.root.iterdir()):
            for table in sorted(keyspace.iterdir()):
                yield SnapshotPath(table, keyspace.name, table.name)

    def __exit__(self, *_):
        return None


class Node:
    """What Medusa asks of a node."""

    root = None

    def __init__(self, config):
        pass

    @contextlib.contextmanager
    def new_session(self):
        yield Session()

    def create_snapshot(self, name, keep=False):
        return Snapshot(Node.root)


def main():
    file, step, backup, *rest = sys.argv[1:]
    config = medusa.config.load_config(defaultdict(lambda: None), pathlib.Path(file))
    if step in ("backup", "full"):
        Node.root = pathlib.Path(rest[0])
        medusa.backup_node.Cassandra = Node
        # It gives way to all else on the machine, which the others do not: all run alike here.
        medusa.backup_node.throttle_backup = lambda: None
        mode = "full" if step == "full" else "differential"
        medusa.backup_node.BackupMan.register_backup(backup, is_async=False)
        medusa.backup_node.handle_backup(config, backup, None, False, mode)
    elif step in ("verify", "verify-md5"):
        medusa.verify.verify(config, backup, step == "verify-md5")
    elif step == "download":
        medusa.download.download_cmd(config, backup, pathlib.Path(rest[0]), set(), set(), False)
    elif step == "delete":
        medusa.purge.delete_backup(config, [backup], False)
    elif step == "list":
        medusa.listing.list_backups(config, True, "text")
    else:
        sys.exit(f"{step} is no step")
    print(datetime.datetime.now().isoformat(), step, "done")


main()
