#!/usr/bin/env python3
"""Runs the steps of the Dockerfile without a Docker engine, then starts what it would start.

    scripts/check_image.py target/debug/gemini-balance

Each stage becomes a folder. COPY takes from what .dockerignore lets through, RUN runs in the stage's working directory
with stand-ins for the commands that need a real image: `npm` builds the dashboard from what was copied with the packages
that are installed already, `cargo` checks that the manifest can be read and that the dashboard is there, and hands out
the binary that was built before. The entrypoint is then started with the environment, and as root
also with the user, of the image; its health check has to fail before, succeed during and fail after.
"""

import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Commands of RUN steps that would change the machine; the user that they make is checked by its number.
STAND_INS = ["useradd", "chown", "apt-get"]
PATIENCE_SECONDS = 15


class Broken(Exception):
    """The image would not build or not work; the message says why."""


def main():
    binary = Path(sys.argv[1]).resolve()
    checks = []
    with tempfile.TemporaryDirectory(prefix="gemini-balance-image-") as folder:
        # The image's user has to get to its files.
        os.chmod(folder, 0o755)
        try:
            image = build(Path(folder), binary, checks)
            run(image, checks)
        except (Broken, OSError) as problem:
            print(f"FAILED {problem}")
            print(f"image: {len(checks)} passed, 1 failed")
            return 1
    print(f"image: {len(checks)} passed, 0 failed")
    return 0


def passed(checks, what):
    checks.append(what)
    print(f"ok     {what}")


# --- Building ---


class Stage:
    def __init__(self, root, base):
        self.root, self.base = root, base
        self.workdir, self.env, self.user, self.uids = "/", {}, None, {}
        self.entrypoint, self.command, self.health = [], [], None
        root.mkdir()

    def at(self, path):
        """Where a path of the image lies on this machine."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")


def build(folder, binary, checks):
    context, tools = folder / "context", folder / "tools"
    copy_context(context)
    make_stand_ins(tools, binary)
    stages, stage = {}, None
    for number, keyword, rest in instructions((ROOT / "Dockerfile").read_text()):
        where = f"Dockerfile:{number}: {keyword}"
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = Stage(folder / f"stage-{len(stages)}", base)
            stages[name or str(len(stages))] = stage
        elif keyword == "WORKDIR":
            stage.workdir = os.path.join(stage.workdir, rest)
            stage.at(".").mkdir(parents=True, exist_ok=True)
        elif keyword == "COPY":
            copy(stage, rest.split(), context, stages, where)
            passed(checks, f"{where} {rest}")
        elif keyword == "RUN":
            run_step(stage, rest, tools, where)
            passed(checks, where)
        elif keyword == "ENV":
            stage.env |= dict(pair.split("=", 1) for pair in rest.split())
        elif keyword == "USER":
            stage.user = rest
        elif keyword == "ENTRYPOINT":
            stage.entrypoint = json.loads(rest)
        elif keyword == "CMD":
            stage.command = json.loads(rest)
        elif keyword == "HEALTHCHECK":
            stage.health = json.loads(rest[rest.index("[") :])
        elif keyword not in ("EXPOSE", "VOLUME"):
            raise Broken(f"{where} is not known to this check: teach it")
    check_toolchain(stages["build"].base)
    passed(checks, "the build stage has the Rust that Cargo.toml asks for")
    return stage


def instructions(text):
    """Line number, keyword and the rest of every instruction, continued lines joined."""
    number, start, whole = 0, 0, ""
    for line in text.splitlines():
        number += 1
        if line.lstrip().startswith("#") or not (line.strip() or whole):
            continue
        start = start or number
        whole += line.removesuffix("\\").strip() + " "
        if not line.endswith("\\"):
            keyword, _, rest = whole.strip().partition(" ")
            yield start, keyword.upper(), rest.strip()
            start, whole = 0, ""


def copy_context(context):
    """What docker would be sent: the files of the work tree that .dockerignore does not leave out."""
    rules = [line for line in (ROOT / ".dockerignore").read_text().split("\n") if line and not line.startswith("#")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file() and not is_ignored(name, rules):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, context / name)


def is_ignored(name, rules):
    """The last rule that matches a file or a folder above it decides."""
    parts = name.split("/")
    paths = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for rule in rules:
        pattern = rule.lstrip("!").strip("/")
        if any(fnmatch.fnmatchcase(path, pattern) for path in paths):
            ignored = not rule.startswith("!")
    return ignored


def make_stand_ins(tools, binary):
    tools.mkdir()
    cargo, npm = shutil.which("cargo"), shutil.which("npm")
    # The first build is that of the dependencies alone, before there is anything to embed.
    cargo_script = f"""#!/bin/sh -e
{cargo} metadata --no-deps --offline --format-version 1 >/dev/null
test ! -e build.rs || test -s web-dist/index.html
mkdir -p target/release
cp {binary} target/release/gemini-balance
"""
    npm_script = f"""#!/bin/sh -e
if [ "$1" = ci ]; then ln -s {ROOT}/web/node_modules node_modules; else {npm} "$@"; fi
"""
    scripts = [("cargo", cargo_script), ("npm", npm_script)]
    for name, text in [*scripts, *((name, "#!/bin/sh\n") for name in STAND_INS)]:
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)


def copy(stage, words, context, stages, where):
    origin, relative = context, lambda source: source
    if words[0].startswith("--from="):
        source_stage = stages.get(words.pop(0).removeprefix("--from="))
        if source_stage is None:
            raise Broken(f"{where}: there is no such stage")
        origin, relative = source_stage.root, lambda source: source.lstrip("/")
    *sources, target = words
    destination = stage.at(target)
    for source in sources:
        path = origin / relative(source)
        if not path.exists():
            raise Broken(f"{where}: {source} does not exist, or .dockerignore leaves it out")
        if path.is_dir():
            shutil.copytree(path, destination, dirs_exist_ok=True)
        else:
            is_folder = target.endswith("/") or len(sources) > 1
            file = destination / path.name if is_folder else destination
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, file)


def run_step(stage, command, tools, where):
    for uid, name in re.findall(r"useradd\b.*?--uid (\d+).*?\s([a-z][\w-]*)(?=\s|$)", command):
        stage.uids[name] = int(uid)
    env = {**os.environ, **stage.env, "PATH": f"{tools}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["sh", "-ec", command], cwd=stage.at("."), env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if ended.returncode != 0:
        raise Broken(f"{where} ended with {ended.returncode}:\n{ended.stdout}")


def check_toolchain(base):
    wanted = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["rust-version"]
    if not base.startswith(f"rust:{wanted}-"):
        raise Broken(f"the build stage is {base}, but Cargo.toml asks for Rust {wanted}")


# --- Running ---


def run(image, checks):
    if image.user not in image.uids:
        raise Broken(f"no RUN step makes the user {image.user}")
    uid = image.uids[image.user] if os.geteuid() == 0 else None
    if uid is not None:
        # What the stand-in for chown did not do.
        os.chown(image.at("data"), uid, uid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**image.env, "PATH": f"{image.root}/usr/local/bin:/usr/bin:/bin", "PORT": str(port)}
    identity = {"user": uid, "group": uid, "extra_groups": []} if uid is not None else {}
    options = {"cwd": image.at("."), "env": env, "text": True, **identity}

    def is_healthy():
        return subprocess.run(image.health, capture_output=True, timeout=PATIENCE_SECONDS, **options).returncode == 0

    if is_healthy():
        raise Broken("the health check succeeds while nothing runs")
    passed(checks, "the health check fails before the start")
    log = image.root / "log"
    with log.open("w") as output:
        process = subprocess.Popen([*image.entrypoint, *image.command], stdout=output, stderr=output, **options)
        try:
            wait_until(is_healthy, process, log)
            passed(checks, f"{' '.join(image.entrypoint + image.command)} starts and is healthy")
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
    if status != 0:
        raise Broken(f"after SIGTERM it ended with {status}:\n{log.read_text()}")
    passed(checks, "it stops cleanly when it is told to")
    if is_healthy():
        raise Broken("the health check succeeds after the stop")
    passed(checks, "the health check fails after the stop")
    if not any(image.at("data").iterdir()):
        raise Broken("nothing was written to the data volume")
    passed(checks, "what it keeps is in the data volume")


def wait_until(is_true, process, log):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if is_true():
            return
        if process.poll() is not None:
            raise Broken(f"the entrypoint ended with {process.returncode}:\n{log.read_text()}")
        time.sleep(0.1)
    raise Broken(f"the health check did not succeed within {PATIENCE_SECONDS} s:\n{log.read_text()}")


if __name__ == "__main__":
    sys.exit(main())
