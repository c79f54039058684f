"""Runs CQL against one node and prints rows. Runs in the lab's Python environment (`dev/lab cql` calls it).

python cql_client.py [--json] [--keyspace K] [--consistency LEVEL] [--user U] ADDRESS PORT < statements
"""

import argparse
import datetime
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Any

from cassandra import ConsistencyLevel, DriverException, OperationTimedOut
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.protocol import ErrorMessage


def split(text: str) -> Iterator[str]:
    """Statements, cut at semicolons that stand outside strings, names, `$$` bodies, comments and batches."""
    statement, position = "", 0
    while position < len(text):
        for opening, closing in (("--", "\n"), ("//", "\n"), ("/*", "*/")):
            if text.startswith(opening, position):
                end = text.find(closing, position + 2)
                position = len(text) if end < 0 else end + len(closing)
                statement += " "
                break
        else:
            quote = next((mark for mark in ("$$", "'", '"') if text.startswith(mark, position)), None)
            if quote:
                end = text.find(quote, position + len(quote))
                end = len(text) if end < 0 else end + len(quote)
                statement, position = statement + text[position:end], end
            elif text[position] == ";" and not _inside_batch(statement):
                if statement.strip():
                    yield statement.strip()
                statement, position = "", position + 1
            else:
                statement, position = statement + text[position], position + 1
    if statement.strip():
        yield statement.strip()


def _inside_batch(statement: str) -> bool:
    words = statement.upper().split()
    return words[:1] == ["BEGIN"] and words[-2:] != ["APPLY", "BATCH"]


def plain(value: Any) -> Any:
    """A value of the driver as JSON can say it; integers stay exact."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return "0x" + bytes(value).hex()
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="milliseconds") + "Z"
    if hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    if hasattr(value, "items"):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (uuid.UUID, datetime.date, datetime.time)):
        return str(value)
    try:
        return [plain(item) for item in value]
    except TypeError:
        return str(value)


def show(value: Any) -> str:
    value = plain(value)
    if value is None:
        return "null"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def print_table(names: list[str], rows: list[tuple]) -> None:
    cells = [[show(value) for value in row] for row in rows]
    widths = [max([len(name)] + [len(row[i]) for row in cells]) for i, name in enumerate(names)]
    print("  ".join(name.ljust(width) for name, width in zip(names, widths)).rstrip())
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    print(f"({len(rows)} row{'' if len(rows) == 1 else 's'})")


def run(session: Any, statement: str, as_json: bool) -> None:
    result = session.execute(statement, timeout=600)
    names = list(result.column_names or [])
    if not names:
        return
    if as_json:
        for row in result:
            print(json.dumps(dict(zip(names, map(plain, row))), ensure_ascii=False))
    else:
        print_table(names, [tuple(row) for row in result])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keyspace")
    parser.add_argument("--consistency", default="ONE")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    level = ConsistencyLevel.name_to_value.get(options.consistency.upper())
    if level is None:
        parser.error(f"--consistency {options.consistency}: one of {', '.join(ConsistencyLevel.name_to_value)}")
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy([options.address]),
        consistency_level=level,
        row_factory=lambda names, rows: rows,
        request_timeout=600,
    )
    cluster = Cluster(
        [options.address],
        port=options.port,
        protocol_version=4,
        connect_timeout=30,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=PlainTextAuthProvider(options.user, options.password) if options.user else None,
        schema_metadata_enabled=False,
        token_metadata_enabled=False,
    )
    try:
        session = cluster.connect(options.keyspace)
        for statement in split(sys.stdin.read()):
            run(session, statement, options.json)
    except (DriverException, ErrorMessage, OperationTimedOut, NoHostAvailable) as error:
        print(f"error: {error}", file=sys.stderr)
        return 9 if isinstance(error, NoHostAvailable) else 1
    finally:
        cluster.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
