"""Writes the small TOML files that Ringvault's programs read: tables, within each other too, of strings, numbers, booleans and string lists."""

import json
from typing import Any


def dumps(document: dict[str, Any]) -> str:
    """Plain values first, then a `[table]` for each dict, and a `[table.within]` for each in that."""
    return "\n".join(_lines(document, "")) + "\n"


def _lines(table: dict[str, Any], name: str) -> list[str]:
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, within in table.items():
        if isinstance(within, dict):
            path = f"{name}.{key}" if name else key
            lines += ["", f"[{path}]", *_lines(within, path)]
    return lines


def _value(value: Any) -> str:
    # For these types JSON's notation is TOML's as well (a path with a control character in it is refused by neither).
    return json.dumps(value, ensure_ascii=False)
