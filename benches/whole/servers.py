"""The processes that take part: nginx as upstream and as proxy, the simulated Gemini, the gateway."""

import http.client
import json
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit

import samples
from processes import free_port, running, wait_for_port

TOKEN = "sk-bench-0123456789abcdefghijklmnop"
READY_SECONDS = 10


@dataclass(frozen=True)
class Server:
    process: Popen
    port: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def nginx_upstream(folder: Path):
    """Answers every POST with one answer of Gemini's, under the headers that Google sends."""
    headers = "\n".join(f'add_header {name} "{value}";' for name, value in samples.ANSWER_HEADERS)
    location = f"""
        default_type 'application/json; charset=UTF-8';
        {headers}
        return 200 '{samples.ANSWER}';"""
    with nginx(folder / "upstream", location, "", workers=1) as server:
        yield server


@contextmanager
def nginx_proxy(folder: Path, upstream_port: int, workers: int):
    """A bare reverse proxy with keep-alive on both sides."""
    upstream = f"""
    upstream gemini {{
        server 127.0.0.1:{upstream_port};
        keepalive 256;
        keepalive_requests 1000000000;
    }}"""
    location = """
        proxy_pass http://gemini;
        proxy_http_version 1.1;
        proxy_set_header Connection "";"""
    with nginx(folder / "proxy", location, upstream, workers) as server:
        yield server


@contextmanager
def nginx(folder: Path, location: str, upstream: str, workers: int):
    folder.mkdir()
    port = free_port()
    kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    temporary = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(f"""
daemon off;
worker_processes {workers};
pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    {temporary}
    tcp_nodelay on;
    keepalive_requests 1000000000;
    {upstream}
    server {{
        listen 127.0.0.1:{port};
        location / {{{location}
        }}
    }}
}}
""")
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    log = folder / "error.log"
    command = [program, "-e", str(log), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with running(command, log, folder) as process:
        wait_for_port(process, port, log)
        yield Server(process, port)


@contextmanager
def simulated_gemini(binaries: Path, folder: Path, keys: int):
    """The simulated Gemini of the demo, with these keys of the gateway among its own, all healthy and unlimited."""
    log = folder / "sim.log"
    gateway_port = str(free_port())
    command = [str(binaries / "gemini-balance"), "demo", "--healthy", "--no-traffic", "--port", gateway_port]
    with running(command, log, folder) as process:
        port = urlsplit(wait_for_greeting(process, log)["sim"]).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        for key in api_keys(keys):
            connection.request("PUT", f"/_sim/keys/{key}", "{}", {"Content-Type": "application/json"})
            connection.getresponse().read()
        connection.close()
        yield Server(process, port)


def wait_for_greeting(process: Popen, log: Path) -> dict[str, str]:
    """What the demo prints when all of it runs: `ready {"gateway": …, "sim": …}`."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text(errors="replace").splitlines():
            if line.startswith("ready {") and line.endswith("}"):
                return json.loads(line.removeprefix("ready "))
        time.sleep(0.02)
    raise SystemExit(f"the demo did not start:\n{log.read_text(errors='replace')[-2000:]}")


def api_keys(count: int) -> list[str]:
    return [f"AIzaSyBench{number:028}" for number in range(count)]


@contextmanager
def gateway(
    binaries: Path, folder: Path, upstream_port: int, keys: int | None, workers: int, settings: dict[str, str] = {}
):
    """The gateway with its defaults, once it is ready; the folder keeps its database.

    Without a number of keys it has those that the folder's database has.
    """
    folder.mkdir(exist_ok=True)
    port, log = free_port(), folder / "gateway.log"
    env = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "WORKERS": str(workers),
        "ALLOWED_TOKENS": json.dumps([TOKEN]),
        "BASE_URL": f"http://127.0.0.1:{upstream_port}/v1beta",
        **settings,
    }
    # The environment has no room for a hundred thousand keys.
    keys_file = folder / ".env"
    keys_file.unlink(missing_ok=True)
    if keys is not None:
        keys_file.write_text(f"API_KEYS={json.dumps(api_keys(keys))}\n")
    with running([str(binaries / "gemini-balance")], log, folder, env) as process:
        wait_until_ready(process, port, log)
        yield Server(process, port)


def wait_until_ready(process: Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.002)
    raise SystemExit(f"the gateway was not ready:\n{log.read_text(errors='replace')[-2000:]}")


def metric(server: Server, name: str) -> float:
    """One value of the gateway's metrics, by its name and labels as they are printed; 0 when absent."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)
