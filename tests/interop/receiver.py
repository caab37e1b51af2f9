"""A receiver of webhooks that believes the published libraries alone.

Prints where it listens, then a line for each event: `verified TYPE` once the event as it came passes and each of its copies
with one byte flipped is refused; anything else is a failure.
"""

import base64
import http.server
import json
import os
import sys

from standardwebhooks import Webhook, WebhookVerificationError

SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")


def refused(webhook, body, headers):
    try:
        webhook.verify(body, headers)
    except (WebhookVerificationError, ValueError):
        # A signature without its comma is not split in two: the library says so with a ValueError.
        return True
    return False


def flips(text):
    for at in range(len(text)):
        yield text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]


def same_signature(one, other):
    """The last bits of a base64 text carry nothing: two spellings, one signature."""
    try:
        version, text = one.split(",")
        known, original = other.split(",")
        return version == known and base64.b64decode(text) == base64.b64decode(original)
    except ValueError:
        return False


def check_signature(body, headers):
    webhook = Webhook(os.environ["WEBHOOK_SECRET"])
    webhook.verify(body, headers)
    for at in range(len(body)):
        flipped = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        try:
            flipped.decode()
        except UnicodeDecodeError:
            continue
        assert refused(webhook, flipped, headers), f"byte {at} of the body"
    # Two secrets are live: without the other one's signature every flipped byte must be noticed.
    for signature in headers["webhook-signature"].split(" "):
        alone = dict(headers, **{"webhook-signature": signature})
        if refused(webhook, body, alone):
            continue
        for name in SIGNED:
            for value in flips(alone[name]):
                if name == "webhook-signature" and same_signature(value, alone[name]):
                    continue
                assert refused(webhook, body, dict(alone, **{name: value})), f"{name}: {value}"
        return
    raise AssertionError("no single signature verifies")


def read_standard(body, headers):
    assert headers["content-type"] == "application/json"
    event = json.loads(body)
    assert sorted(event) == ["data", "timestamp", "type"], event
    return event["type"]


def read_cloud_event(body, headers):
    from cloudevents.core.bindings.http import HTTPMessage, from_structured
    from cloudevents.core.formats.json import JSONFormat

    event = from_structured(HTTPMessage(headers=headers, body=body), JSONFormat())
    assert event.get_id() == headers["webhook-id"]
    assert event.get_specversion() == "1.0" and event.get_source().startswith("/opros/")
    assert isinstance(event.get_data(), dict)
    return event.get_type()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            check_signature(body, headers)
            read = read_cloud_event if sys.argv[1] == "cloudevents" else read_standard
            print("verified", read(body, headers), flush=True)
            self.send_response(204)
        except Exception as error:  # Whatever it is, the run must show it.
            print(f"FAILED {type(error).__name__}: {error}", flush=True)
            self.send_response(400)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
print(f"http://127.0.0.1:{server.server_port}/hook", flush=True)
server.serve_forever()
