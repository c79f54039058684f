"""The demonstration's data: a small shop with several kinds of table, and a digest of every cell.

The digest covers each row's values and, for every column that has them, write times and TTLs, so
two equal digests mean the same data as Cassandra keeps it.
"""
import datetime
import hashlib
import random
import uuid
from typing import Dict, Iterable, List, Tuple

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import Cluster, NoHostAvailable, Session
from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType, SimpleStatement, tuple_factory

KEYSPACE = "shop"

# What the driver raises: no host answers, a request failed or timed out.
ERRORS = (DriverException, NoHostAvailable)

SCHEMA = [
    "CREATE KEYSPACE {ks} WITH replication = "
    "{{'class': 'NetworkTopologyStrategy', 'dc1': {rf}}}",
    "CREATE TYPE {ks}.address (street text, city text)",
    "CREATE TABLE {ks}.orders (customer int, day date, id uuid, total decimal, state text, "
    "lines map<text, int>, PRIMARY KEY ((customer, day), id))",
    "CREATE INDEX orders_by_state ON {ks}.orders (state) USING 'sai'",
    "CREATE TABLE {ks}.customers (id int PRIMARY KEY, name text, home frozen<address>, "
    "tags set<text>)",
    "CREATE TABLE {ks}.events (sensor int, at timestamp, label text static, value double, "
    "PRIMARY KEY (sensor, at)) WITH CLUSTERING ORDER BY (at DESC)",
    "CREATE TABLE {ks}.visits (page text PRIMARY KEY, hits counter)",
]

# Columns that carry a write time, by table; keys and collections do not.
TIMED = {"orders": ["total", "state"], "customers": ["name"], "events": ["label", "value"]}


def connect(addresses: List[str]) -> Session:
    """A session with all nodes."""
    session = Cluster(addresses, connect_timeout=30).connect(wait_for_all_pools=True)
    session.default_timeout = 60
    session.row_factory = tuple_factory
    return session


def create(session: Session, rf: int) -> None:
    """Makes the schema anew."""
    session.execute(f"DROP KEYSPACE IF EXISTS {KEYSPACE}", timeout=120)
    for statement in SCHEMA:
        session.execute(statement.format(ks=KEYSPACE, rf=rf), timeout=120)


def load(session: Session, rows: int, note) -> None:
    """Writes about `rows` rows, some with a TTL, some deleted again."""
    rng = random.Random(7)
    day = datetime.date(2026, 1, 1)
    orders = [
        (i // 30, day + datetime.timedelta(days=i // 30 % 28), uuid.UUID(int=rng.getrandbits(128)),
         rng.randrange(100, 99999) / 100, rng.choice(["open", "paid", "sent"]),
         {f"item-{rng.randrange(50)}": rng.randrange(1, 9)})
        for i in range(rows * 6 // 10)
    ]
    _write(session, f"INSERT INTO {KEYSPACE}.orders (customer, day, id, total, state, lines) "
                    "VALUES (?, ?, ?, ?, ?, ?)", orders, "orders", note)
    customers = [(i, f"customer {i}", (f"{i} Main Street", "Springfield"), {f"tag-{i % 7}"})
                 for i in range(rows // 10)]
    _write(session, f"INSERT INTO {KEYSPACE}.customers (id, name, home, tags) VALUES (?, ?, ?, ?)",
           customers, "customers", note)
    start = datetime.datetime(2026, 1, 1)
    events = [(i // 30 % 300, start + datetime.timedelta(seconds=i), f"sensor {i // 30 % 300}",
               rng.random()) for i in range(rows * 3 // 10)]
    _write(session, f"INSERT INTO {KEYSPACE}.events (sensor, at, label, value) "
                    "VALUES (?, ?, ?, ?) USING TTL 8640000", events, "events", note)
    visits = [(1 + i % 9, f"/page/{i}") for i in range(min(2000, rows // 10))]
    _write(session, f"UPDATE {KEYSPACE}.visits SET hits = hits + ? WHERE page = ?",
           visits, "visits", note, BatchType.COUNTER)
    gone = [(i,) for i in range(0, rows // 10, 100)]
    _write(session, f"DELETE FROM {KEYSPACE}.customers WHERE id = ?", gone, "deletions", note)


def _write(session: Session, statement: str, rows: List[tuple], what: str, note,
           kind=BatchType.UNLOGGED) -> None:
    """Thirty rows a message: of one partition, for the large tables."""
    prepared = session.prepare(statement)
    batches = []
    for begin in range(0, len(rows), 30):
        batch = BatchStatement(kind)
        for row in rows[begin:begin + 30]:
            batch.add(prepared, row)
        batches.append((batch, ()))
    execute_concurrent(session, batches, concurrency=16)
    note(f"{len(rows):>7} {what}")


def digest(session: Session) -> Tuple[Dict[str, int], str]:
    """Rows by table, and one digest over every cell."""
    counts, total = {}, hashlib.sha256()
    for table in ["orders", "customers", "events", "visits"]:
        timed = TIMED.get(table, [])
        extra = "".join(f", writetime({c}), ttl({c})" for c in timed if c != "label")
        extra += ", writetime(label)" if "label" in timed else ""
        columns = _columns(session, table)
        lines = sorted(_lines(session, f"SELECT {', '.join(columns)}{extra} FROM {KEYSPACE}.{table}",
                              len(columns), timed))
        counts[table] = len(lines)
        for line in lines:
            total.update(line.encode())
    return counts, total.hexdigest()


def _columns(session: Session, table: str) -> List[str]:
    rows = session.execute(
        "SELECT column_name FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
        (KEYSPACE, table))
    return sorted(row[0] for row in rows)


def _lines(session: Session, statement: str, values: int, timed: List[str]) -> Iterable[str]:
    """A line a row. TTLs run down while the demonstration runs, so only that there is one counts."""
    query = SimpleStatement(statement, fetch_size=2000, consistency_level=ConsistencyLevel.ALL)
    plain = [name for name in timed if name != "label"]
    for row in session.execute(query, timeout=120):
        cells = [repr(_stable(value)) for value in row[:values]]
        for index in range(len(plain)):
            written, ttl = row[values + 2 * index], row[values + 2 * index + 1]
            cells.append(f"{written}/{'ttl' if ttl is not None else '-'}")
        cells += [repr(value) for value in row[values + 2 * len(plain):]]
        yield "|".join(cells) + "\n"


def _stable(value):
    """A value whose text does not depend on the order of sets and maps."""
    if value is None:
        return None
    if hasattr(value, "items"):
        return sorted((str(k), str(v)) for k, v in value.items())
    if isinstance(value, (set, frozenset)) or type(value).__name__ == "SortedSet":
        return sorted(str(item) for item in value)
    return str(value)
