"""The demonstration's rows on nodes given by their addresses. Run by the lab's Python; prints one JSON document."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "dev" / "demo_lib"))

import shop  # noqa: E402  (the path above has to be set first)


def main(verb: str, addresses: str, *arguments: str) -> int:
    session = shop.connect(addresses.split(","))
    answer = {}
    if verb == "load":
        shop.create(session, 3)
        shop.load(session, int(arguments[0]), lambda text: print(f"   {text}", file=sys.stderr))
    elif verb == "drop":
        session.execute(f"DROP KEYSPACE {shop.KEYSPACE}", timeout=120)
    else:
        counts, checksum = shop.digest(session)
        answer = {"rows": sum(counts.values()), "checksum": checksum}
    session.cluster.shutdown()
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
