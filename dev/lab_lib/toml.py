"""Writes the small TOML files that Ringvault's programs read: tables of strings, numbers, booleans and string lists."""

import json
from typing import Any


def dumps(document: dict[str, Any]) -> str:
    """Plain values first, then a `[table]` for each dict."""
    lines = [f"{key} = {_value(value)}" for key, value in document.items() if not isinstance(value, dict)]
    for name, table in document.items():
        if isinstance(table, dict):
            lines += ["", f"[{name}]"] + [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    # For these types JSON's notation is TOML's as well (a path with a control character in it is refused by neither).
    return json.dumps(value, ensure_ascii=False)
