"""Peak memory of each step of a backup's life, with few files and many, a short one and a long one."""

import os
import pathlib
import shutil
import sys

import client
import reports

WORK = pathlib.Path(sys.argv[1])
RESULTS = pathlib.Path(sys.argv[2])
FILES = int(os.environ.get("RINGVAULT_BENCH_FILES", "1000000"))
GIB = int(os.environ.get("RINGVAULT_BENCH_GIB", "32"))
# Bytes of an SSTable's components; as many as Cassandra 5 writes without compression of its own.
COMPONENTS = {"Data.db": 2000, "Index.db": 700, "Filter.db": 300, "Statistics.db": 2500, "Summary.db": 200,
              "CompressionInfo.db": 100, "Digest.crc32": 10, "TOC.txt": 92}
SSTABLES_A_TABLE = 125
FILLING = os.urandom(max(COMPONENTS.values()))


def many(root, files):
    """SSTables of small components, no two of them alike."""
    for sstable in range(files // len(COMPONENTS)):
        table = root / "bench" / f"t{sstable // SSTABLES_A_TABLE:05}"
        if sstable % SSTABLES_A_TABLE == 0:
            table.mkdir(parents=True)
        for kind, (component, size) in enumerate(COMPONENTS.items()):
            own = (sstable * len(COMPONENTS) + kind).to_bytes(8, "big")
            (table / f"nb-{sstable + 1}-big-{component}").write_bytes((own + FILLING)[:max(size, len(own))])


def long(root, gib):
    """One SSTable, whose data takes no room on the disk: blocks that are told apart, and nothing between."""
    table = root / "bench" / "t"
    table.mkdir(parents=True)
    with open(table / "nb-1-big-Data.db", "wb") as data:
        for block in range(gib * 1024):
            data.seek(block << 20)
            data.write(block.to_bytes(8, "big"))
        data.truncate(gib << 30)
    for component, size in list(COMPONENTS.items())[1:]:
        (table / f"nb-1-big-{component}").write_bytes(FILLING[:size])


def life(name, make, size):
    folder = WORK / name
    data = folder / "data"
    make(data, size)
    store = folder / "store"
    store.mkdir()
    vault = client.Vault(folder, {"url": f"file://{store}"})
    steps = {"first backup": vault.backup("b1", data), "unchanged backup": vault.backup("b2", data),
             "verify, presence": vault.presence("b2"), "verify, digest": vault.digest("b2"),
             "delete": vault.delete("b1")}
    shutil.rmtree(folder)
    return steps


def main():
    cases = {"1,000 files": ("few", many, 1000), f"{FILES:,} files": ("many", many, FILES),
             "1 GiB": ("short", long, 1), f"{GIB} GiB": ("long", long, GIB)}
    report = {}
    for title, case in cases.items():
        print(f"[bench] {title}", file=sys.stderr)
        report[title] = life(*case)
    reports.keep(RESULTS, "flat", report)
    print("seconds, and peak MiB in brackets")
    steps = list(next(iter(report.values())))
    rows = [["", *steps]]
    for title, case in report.items():
        rows.append([title, *(f"{case[step]['seconds']:.2f} ({case[step]['mib']:.0f})" for step in steps)])
    reports.show(rows)


main()
