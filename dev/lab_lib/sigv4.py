"""AWS Signature Version 4 for the few bodiless requests the lab makes to its S3 server."""

import datetime
import hashlib
import hmac
import http.client
from typing import Optional
from urllib.parse import quote, urlsplit


def _sign(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def request(
    method: str,
    endpoint: str,
    path: str,
    access_key: str,
    secret_key: str,
    region: str,
    extra: Optional[dict[str, str]] = None,
) -> tuple[int, str]:
    """Sends a signed request without query and body, with these headers of S3's own; returns status and body."""
    parts = urlsplit(endpoint)
    host = parts.netloc
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    empty = hashlib.sha256(b"").hexdigest()
    uri = quote(path, safe="/-_.~")
    sent = {"x-amz-content-sha256": empty, "x-amz-date": stamp, **(extra or {})}
    signed_headers = sorted({"host": host, **sent}.items())
    names = ";".join(name for name, _ in signed_headers)
    headers = "".join(f"{name}:{value}\n" for name, value in signed_headers)
    canonical = f"{method}\n{uri}\n\n{headers}\n{names}\n{empty}"
    scope = f"{day}/{region}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = _sign(_sign(_sign(_sign(f"AWS4{secret_key}".encode(), day), region), "s3"), "aws4_request")
    signature = _sign(key, to_sign).hex()
    signed = f"Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request(method, uri, headers={**sent, "Authorization": f"AWS4-HMAC-SHA256 {signed}"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()
