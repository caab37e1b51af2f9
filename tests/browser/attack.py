"""Leads a browser to a page of another site: attack.py BROWSER DIRECTORY PORT, where the tunnel to the admin socket listens."""

import http.client
import http.server
import json
import os
import pathlib
import queue
import re
import socket
import subprocess
import sys
import threading
import urllib.parse

BROWSER, WORK, PORT = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
HERE = pathlib.Path(__file__).parent
RESULTS: queue.Queue = queue.Queue()
PATIENCE = 120

# The browser leaves the page for the target: it must not take an order along.
NAVIGATES = """<!doctype html><form id=f method=POST enctype=text/plain action="%s">
<input name='{"kind":"tronk.report","params":{"phone":"79990000999"},"tag":"' value='"}'></form>
<script>addEventListener("pagehide", () => navigator.sendBeacon("/result", "{}")); document.getElementById("f").submit();</script>"""


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        address = urllib.parse.urlsplit(self.path)
        if address.path == "/navigates":
            page = NAVIGATES % urllib.parse.parse_qs(address.query)["target"][0]
        elif address.path == "/":
            page = (HERE / "page.html").read_text()
        else:
            self.send_error(404)
            return
        body = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        RESULTS.put(json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}"))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def browse(url, until):
    """Opens the address and leaves the browser running until `until` returns; its value, or None."""
    profile = WORK / "profile"
    command = [BROWSER, "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
               "--disable-background-networking", "--disable-component-update", "--disable-sync", f"--user-data-dir={profile}",
               "--host-resolver-rules=MAP evil.example 127.0.0.1,MAP opros 127.0.0.1", "--remote-debugging-port=0"]
    # Chromium's own sandbox does not run as root.
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    with open(WORK / "browser.log", "ab") as log:
        browser = subprocess.Popen([*command, url], stdout=log, stderr=log, start_new_session=True)
    try:
        return until()
    finally:
        os.killpg(browser.pid, 9)
        browser.wait()


def dom(url):
    """What the browser shows of an address that was typed in."""
    command = [BROWSER, "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server",
               f"--user-data-dir={WORK / 'profile'}", "--host-resolver-rules=MAP evil.example 127.0.0.1,MAP opros 127.0.0.1",
               "--timeout=10000", "--dump-dom"]
    command += ["--no-sandbox"] if os.geteuid() == 0 else []
    return subprocess.run([*command, url], capture_output=True, text=True, timeout=PATIENCE).stdout


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(WORK / "admin.sock"))


def ask(path):
    connection = Unix("opros")
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def state():
    """Whatever a change would show in."""
    return [ask(path) for path in ("/v1/jobs", "/v1/accounts", "/v1/log", "/v1/events")]


def refused():
    counts = dict(re.findall(r'opros_admin_refused_total\{reason="(\w+)"\} (\d+)', ask("/metrics")))
    return int(counts.get("origin", 0)), int(counts.get("host", 0))


def result():
    return RESULTS.get(timeout=PATIENCE)


def page_of(host, site, target, before):
    """A page at `host` tries everything against `target`."""
    origin, names = refused()
    url = f"http://{host}:{site}/?" + urllib.parse.urlencode({"target": target})
    results = browse(url, result)
    read = {name: word for name, word in results.items() if word.startswith("!")}
    if read:
        sys.exit(f"a page at {host} read from {target}: {json.dumps(read, indent=1)}")
    if state() != before:
        sys.exit(f"a page at {host} changed something at {target}: {state()}\nit was {before}")
    now_origin, now_names = refused()
    count = now_origin - origin + now_names - names
    # Most attempts are a request of their own, or a preflight that forbids it.
    if count < len(results) // 2:
        sys.exit(f"{len(results)} attempts, and only {count} requests came: the page did not try")
    print(f"a page at {host} against {target}: {len(results)} attempts, {count} requests refused, nothing read or changed")


def main():
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    port = site.server_address[1]
    before = state()
    # Another site, another port of the same host (the same "site"), and names that an attacker points here.
    page_of("localhost", port, f"http://127.0.0.1:{PORT}", before)
    page_of("127.0.0.1", port, f"http://127.0.0.1:{PORT}", before)
    page_of("evil.example", port, f"http://localhost:{PORT}", before)
    page_of("evil.example", port, f"http://evil.example:{PORT}", before)
    page_of("evil.example", port, f"http://opros:{PORT}", before)
    origin, _ = refused()
    target = urllib.parse.urlencode({"target": f"http://127.0.0.1:{PORT}/v1/jobs"})

    def navigated():
        result()
        for _ in range(PATIENCE * 20):
            if refused()[0] > origin:
                return True
            threading.Event().wait(0.05)
        sys.exit("the page did not leave for the target")

    browse(f"http://localhost:{port}/navigates?{target}", navigated)
    if state() != before:
        sys.exit("a page that left for the target ordered something")
    print("a form that takes the browser along: refused, nothing ordered")
    # An address that a person types in is answered, under a name of opros' own alone.
    shown = dom(f"http://127.0.0.1:{PORT}/v1/health")
    if '"status":"' not in shown:
        sys.exit(f"what a person types in is not answered: {shown}")
    shown = dom(f"http://evil.example:{PORT}/v1/jobs")
    if "wrong_host" not in shown or "79990000111" in shown:
        sys.exit(f"a rebound name is answered: {shown}")
    print("an address that is typed in is answered; a rebound name is not")


main()
