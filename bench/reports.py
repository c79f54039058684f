"""Where results are kept, and how they are shown."""

import json


def keep(results, name, report):
    """Puts one benchmark's report into the file of all, in the place of the one before."""
    known = json.loads(results.read_text()) if results.exists() else {}
    results.write_text(json.dumps({**known, name: report}, indent=1) + "\n")


def show(rows):
    """Prints a table whose first row is its head: first column to the left, figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))))
