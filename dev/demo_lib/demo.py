"""The demonstration: every step of a backup's life on a real cluster, judged by the data itself."""
import argparse
import json
import sys
from typing import List

import shop
from programs import Failed, Lab
from story import Story


def main(lab_program: str, arguments: List[str]) -> int:
    """Runs it. 0 only if every row came back."""
    parser = argparse.ArgumentParser(
        prog="dev/demo",
        description="Back up, verify, drop, restore, compare and purge a three-node Cassandra. "
                    "Leaves everything running and says where to look.")
    parser.add_argument("--rows", type=int, default=100_000, help="about how many (100000)")
    parser.add_argument("--cluster", default="demo", help="the cluster's name (demo)")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options, lab_options = parser.parse_known_args(arguments)
    story = Story()
    try:
        result = Demo(Lab(lab_program, options.cluster), story, options).run(lab_options)
    except Failed as failure:
        story.say(f"\nThe demonstration failed: {failure}")
        return failure.code
    except shop.ERRORS as error:
        story.say(f"\nThe demonstration failed: Cassandra did not do as asked: {type(error).__name__}: {error}")
        story.say("Everything is left as it is. Next: dev/lab status, dev/lab logs")
        return 1
    if options.json:
        print(json.dumps(result))
    same = result["checksum_before"] == result["checksum_after"]
    return 0 if same and result["rows_before"] == result["rows_after"] else 1


class Demo:
    """One run."""

    def __init__(self, lab: Lab, story: Story, options) -> None:
        self.lab, self.story, self.options = lab, story, options

    def run(self, lab_options: List[str]) -> dict:
        story, lab, cluster = self.story, self.lab, self.options.cluster
        with story.step("start", "Install what is missing, build, and start the lab"):
            lab.up(["--nodes", str(self.options.nodes), *lab_options])
        with story.step("load", f"Load about {self.options.rows} rows into keyspace {shop.KEYSPACE}"):
            session = shop.connect(lab.nodes())
            shop.create(session, min(3, self.options.nodes))
            shop.load(session, self.options.rows, story.note)
        with story.step("read", "Read every row, with write times, at consistency ALL"):
            before, checksum_before = self._digest(session)
        with story.step("backup", "Back up the cluster"):
            first = self._backup()
        with story.step("backup_unchanged", "Back it up again: nothing changed, so nothing is brought"):
            second = self._backup()
        with story.step("verify", "Verify the backup, every byte of it"):
            lab.ringvault("verify", "run", second["name"], "-c", cluster, "--level", "digest", "--wait")
        with story.step("drop", f"Drop keyspace {shop.KEYSPACE}, with all its data"):
            session.execute(f"DROP KEYSPACE {shop.KEYSPACE}", timeout=120)
        with story.step("restore", "Restore it from the backup"):
            lab.ringvault("restore", "plan", "--from", second["name"], "--to", cluster,
                          "--keyspace", shop.KEYSPACE)
            restored = lab.ringvault_json(
                "restore", "run", "--from", second["name"], "--to", cluster,
                "--keyspace", shop.KEYSPACE, "--wait")
        with story.step("compare", "Read every row again and compare"):
            session.cluster.shutdown()
            session = shop.connect(lab.nodes())
            after, checksum_after = self._digest(session)
            session.cluster.shutdown()
        with story.step("purge", "Compact, back up what came of it, and purge all older backups"):
            lab.compact(shop.KEYSPACE)
            survivor = self._backup()
            lab.ringvault("purge", "plan", "-c", cluster, "--keep-last", "1")
            purged = lab.ringvault_json("purge", "run", "-c", cluster, "--keep-last", "1",
                                        "--confirm", cluster, "--wait")
        result = {
            "rows_before": sum(before.values()),
            "rows_after": sum(after.values()),
            "checksum_before": checksum_before,
            "checksum_after": checksum_after,
            # What was restored from; the purge has taken it away since.
            "backup": second["name"],
            "surviving_backup": survivor["name"],
            "restore_job": restored["id"],
            "purged_objects": purged["outcome"]["objects"],
            "bytes_first_backup": first["figures"]["bytes_new"],
            "bytes_unchanged_backup": second["figures"]["bytes_new"],
            "seconds": story.seconds,
            "peak_memory": lab.peak_memory(),
        }
        self._verdict(result)
        return result

    def _backup(self) -> dict:
        """Takes a backup and returns it as the server lists it."""
        lab, cluster = self.lab, self.options.cluster
        job = lab.ringvault_json("backup", "create", "-c", cluster, "--wait")
        backup = lab.ringvault_json("backup", "show", job["backup"], "-c", cluster)
        figures = backup["figures"]
        self.story.note(f"{backup['name']} is {backup['state']}: {_mib(figures['bytes'])} MiB, "
                        f"of which {_mib(figures['bytes_new'])} MiB were brought")
        return backup

    def _digest(self, session):
        counts, checksum = shop.digest(session)
        for table, rows in counts.items():
            self.story.note(f"{rows:>7} rows of {table}")
        self.story.note(f"digest of every cell {checksum[:16]}…")
        return counts, checksum

    def _verdict(self, result: dict) -> None:
        story, lab = self.story, self.lab
        same = (result["rows_before"], result["checksum_before"]) == \
            (result["rows_after"], result["checksum_after"])
        story.say("\nEvery row came back: values and write times are the same."
                  if same else "\nTHE DATA IS NOT THE SAME. This is a defect; please report it.")
        for name, peak in result["peak_memory"].items():
            story.say(f"{name} took at most {_mib(peak)} MiB of memory")
        story.say(f"""
All of it is still running, with backup {result['surviving_backup']}:
  eval "$(dev/lab env)"
  ringvault status
  {lab.status['server']}/     the dashboard; sign in with the token in
      {lab.status['token_file']}
  dev/lab status       every address, credential and log
  dev/lab down         stop all of it""")
        sys.stderr.flush()


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"
