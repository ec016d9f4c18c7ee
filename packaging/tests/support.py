"""What the tests of the packages share."""

import contextlib
import http.client
import http.server
import os
import pathlib
import resource
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PACKAGING = pathlib.Path(__file__).resolve().parent.parent
ROOT = PACKAGING.parent
BINARY = pathlib.Path(sys.argv[1]).resolve()
TIMEOUT = 20


def run(*command, code=0, **options):
    """Runs a command, checks its exit code and returns what it prints."""
    command = [str(word) for word in command]
    options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "timeout": 300} | options
    done = subprocess.run(command, **options)
    assert done.returncode == code, f"{shlex.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def clean_environment(**variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FORWARDCACHE_")}
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        kept.pop(name, None), kept.pop(name.upper(), None)
    return kept | variables


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def request(port, target, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", target, headers={name.replace("_", "-"): text for name, text in fields.items()})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def proxied(url):
    return "/proxy?q=" + urllib.parse.quote(url, safe="")


def wait_until(condition, what):
    limit = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


@contextlib.contextmanager
def origin():
    """Serves cacheable responses on loopback. Yields its base URL and the list of requested paths."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_response(200)
            self.send_header("Cache-Control", "max-age=600")
            self.send_header("Content-Length", "7")
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", paths
    server.shutdown()


class Service:
    """A process that reports its state as the service manager expects it."""

    def __init__(self, folder, command, files=None, variables=None, **options):
        """`files` is the limit of open files, as far as the system allows it."""
        self.messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.messages.settimeout(TIMEOUT)
        path = tempfile.mktemp(dir=folder)
        self.messages.bind(path)
        os.chmod(path, 0o777)
        self.log = tempfile.TemporaryFile("w+", dir=folder)
        if files:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            files = files if hard == resource.RLIM_INFINITY else min(files, hard)
            limits = (resource.RLIMIT_NOFILE, (files, files))
            options["preexec_fn"] = lambda: resource.setrlimit(*limits)
        environment = clean_environment(NOTIFY_SOCKET=path) | (variables or {})
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, cwd="/", env=environment, **options)

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def wait_for(self, state):
        received = b""
        try:
            while state.encode() not in received.splitlines():
                received += self.messages.recv(4096) + b"\n"
        except TimeoutError:
            raise AssertionError(f"no {state}: {self.output()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
