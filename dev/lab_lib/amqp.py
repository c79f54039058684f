"""Just enough AMQP 0-9-1 to log in: proof that the broker is up, with its users and its virtual host."""

import socket
import struct
from urllib.parse import unquote, urlsplit


def _frame(method: bytes, arguments: bytes) -> bytes:
    payload = method + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce"


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _read(stream, class_id: int, method_id: int) -> bytes:
    kind, _, size = struct.unpack(">BHI", _exactly(stream, 7))
    payload = _exactly(stream, size)
    _exactly(stream, 1)
    if kind != 1 or struct.unpack(">HH", payload[:4]) != (class_id, method_id):
        raise ValueError(f"unexpected AMQP frame {kind} {payload[:4]!r}")
    return payload[4:]


def _exactly(stream, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise ValueError("the connection was closed")
    return data


def can_log_in(url: str, timeout: float = 5.0) -> bool:
    """Whether `amqp://user:password@host:port/vhost` lets us in."""
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    virtual_host = unquote(parts.path[1:])
    try:
        with socket.create_connection((parts.hostname, parts.port), timeout) as connection:
            connection.settimeout(timeout)
            stream = connection.makefile("rb")
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            _read(stream, 10, 10)  # connection.start
            answer = _long(b"") + _short("PLAIN") + _long(f"\0{user}\0{password}".encode()) + _short("en_US")
            connection.sendall(_frame(b"\x00\x0a\x00\x0b", answer))
            tune = _read(stream, 10, 30)
            connection.sendall(_frame(b"\x00\x0a\x00\x1f", tune[:8]))
            connection.sendall(_frame(b"\x00\x0a\x00\x28", _short(virtual_host) + _short("") + b"\x00"))
            _read(stream, 10, 41)  # connection.open-ok
            connection.sendall(_frame(b"\x00\x0a\x00\x32", struct.pack(">H", 200) + _short("bye") + b"\x00" * 4))
            _read(stream, 10, 51)
            return True
    except (OSError, ValueError):
        return False
