"""Another system that asks Ringvault for work: plain pika, and the message schemas in docs/schemas.

    request.py errand URL_FILE ERRAND_FILE   publish requests, wait for events, print all that came
    request.py dead   URL_FILE IGNORED       print what lies in the dead queue and leave it there
"""
import json
import sys
import time
import uuid

import pika


def parameters(url_file: str) -> pika.URLParameters:
    with open(url_file, encoding="utf-8") as text:
        return pika.URLParameters(text.read().strip())


def type_of(body: str) -> str:
    """The routing key is the message's type, as far as there is one."""
    try:
        return str(json.loads(body)["type"])
    except (ValueError, KeyError, TypeError):
        return "job.create"


def fits(event: dict, expected: dict) -> bool:
    payload = event.get("payload", {})
    return event.get("type") == expected["type"] and all(
        payload.get(name) == value for name, value in expected["payload"].items())


def errand(connection: pika.BlockingConnection, user: str, task: dict) -> int:
    channel = connection.channel()
    queue = f"requester.{uuid.uuid4()}"
    channel.queue_declare(queue, exclusive=True, auto_delete=True)
    channel.queue_bind(queue, "ringvault.events", "#")
    channel.confirm_delivery()
    for body in task["publish"]:
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2,
            # Who asks. The broker refuses any other name than the one logged in with.
            user_id=user)
        channel.basic_publish("ringvault.requests", type_of(body), body.encode(), properties, mandatory=True)
    seen, open_ones = [], list(task["wait_for"])
    end = time.monotonic() + task["seconds"]
    while open_ones and time.monotonic() < end:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            connection.sleep(0.1)
            continue
        event = json.loads(body)
        seen.append({"routing_key": method.routing_key, "body": event})
        open_ones = [expected for expected in open_ones if not fits(event, expected)]
    print(json.dumps(seen))
    if open_ones:
        print(f"these events did not come: {json.dumps(open_ones)}", file=sys.stderr)
        return 1
    return 0


def dead(connection: pika.BlockingConnection) -> int:
    channel = connection.channel()
    found = []
    while True:
        # Not acknowledged: all of them go back when the connection closes.
        method, properties, body = channel.basic_get("ringvault.dead")
        if method is None:
            break
        headers = properties.headers or {}
        found.append({
            "reason": headers.get("x-ringvault-reason", ""),
            "queue": headers.get("x-ringvault-queue", ""),
            "body": body.decode(errors="replace"),
        })
    print(json.dumps(found))
    return 0


def main() -> int:
    command, url_file, errand_file = sys.argv[1:]
    login = parameters(url_file)
    connection = pika.BlockingConnection(login)
    try:
        if command == "dead":
            return dead(connection)
        with open(errand_file, encoding="utf-8") as text:
            return errand(connection, login.credentials.username, json.load(text))
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
