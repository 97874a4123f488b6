"""Speed and memory of the whole gateway, beside nginx in the same run.

Argument: the folder with the release binaries. Exit status 1 when a target is missed.
"""

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import samples
from leases import leases
from load import Target, alternate, drive
from processes import free_port, rss_mb, running, wait_for_port
from report import Row, difference, plain, ratio, table
from servers import TOKEN, gateway, metric, nginx_proxy, nginx_upstream, simulated_gemini
from streams import event_ages_ms, open_streams, post

SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
WORKERS = int(os.environ.get("BENCH_WORKERS", "1"))
ROUNDS = 3
KEYS = 12
MANY_KEYS = 1000
VERY_MANY_KEYS = 100_000
IN_TURN = {"BALANCE_POLICY": "round_robin"}
STREAMS = 1000
STARTS = 5
EVENTS, GAP_MS = 150, 20
NATIVE_AUTH = {"x-goog-api-key": TOKEN}
CHAT_AUTH = {"Authorization": f"Bearer {TOKEN}"}
# After this the run ends itself, whatever hangs.
LONGEST_RUN_SECONDS = 900


def median(values) -> float:
    return statistics.median(list(values))


def cpu_and_latency(binaries: Path, folder: Path) -> list[Row]:
    """CPU per request under load, then latency of one client alone."""
    native, chat = folder / "native.json", folder / "chat.json"
    native.write_text(samples.native_request())
    chat.write_text(samples.chat_request())
    with (
        nginx_upstream(folder) as upstream,
        nginx_proxy(folder, upstream.port, WORKERS) as proxy,
        gateway(binaries, folder / "loaded", upstream.port, KEYS, WORKERS) as ours,
        gateway(binaries, folder / "in-turn", upstream.port, KEYS, WORKERS, IN_TURN) as in_turn,
    ):
        path = samples.NATIVE_PATH
        targets = [
            Target("nginx", proxy.url(path), native, NATIVE_AUTH, proxy.pid),
            Target("native", ours.url(path), native, NATIVE_AUTH, ours.pid),
            Target("chat", ours.url(samples.CHAT_PATH), chat, CHAT_AUTH, ours.pid),
            Target("in turn", in_turn.url(path), native, NATIVE_AUTH, in_turn.pid),
        ]
        for target in targets:
            drive(target, 64, 2)
        loads = alternate(targets, 64, SECONDS, ROUNDS)
        alone = alternate(targets, 1, max(2, SECONDS // 2), ROUNDS)
        check_that_everything_was_logged(ours)
    for name in loads:
        print_loads(name, loads[name], alone[name])
    cpu = {name: [load.cpu_us for load in loads[name]] for name in loads}
    p50 = {name: median(load.p50_ms for load in alone[name]) for name in alone}
    return [
        ratio("CPU per native generateContent", cpu["native"], cpu["nginx"], 1.6),
        ratio("CPU per converted chat completion", cpu["chat"], cpu["nginx"], 2.2),
        ratio("CPU of a converted chat beside native", cpu["chat"], cpu["native"], 1.3, "native"),
        ratio("CPU with p2c beside round_robin", cpu["native"], cpu["in turn"], 1.1, "in turn"),
        difference("p50 of one client, native", p50["native"], p50["nginx"], "nginx", 0.15),
        difference("p50 of one client, chat", p50["chat"], p50["nginx"], "nginx", 0.15),
    ]


def print_loads(name, loads, alone) -> None:
    per_second = [f"{load.requests / load.seconds:.0f}" for load in loads]
    cpu = [f"{load.cpu_us:.1f}" for load in loads]
    p50 = [f"{load.p50_ms:.3f}" for load in alone]
    print(f"  {name:7} {' '.join(per_second)} requests/s   {' '.join(cpu)} µs CPU   alone p50 {' '.join(p50)} ms")


def check_that_everything_was_logged(ours) -> None:
    """A gateway that drops its log rows would look cheap."""
    dropped = metric(ours, 'gemini_balance_log_rows{state="dropped"}')
    written = metric(ours, 'gemini_balance_log_rows{state="written"}')
    if dropped or not written:
        raise SystemExit(f"{written:.0f} log rows were written and {dropped:.0f} dropped")


def streaming_delay(binaries: Path, folder: Path) -> list[Row]:
    port, log = free_port(), folder / "clock.log"
    clock = [sys.executable, str(Path(__file__).with_name("clock.py")), str(port), str(EVENTS), str(GAP_MS)]
    native = post(samples.NATIVE_STREAM_PATH, NATIVE_AUTH, samples.native_request())
    chat = post(samples.CHAT_PATH, CHAT_AUTH, samples.chat_request(stream=True))
    ages = {"direct": [], "native": [], "chat": []}
    with running(clock, log, folder) as process:
        wait_for_port(process, port, log)
        with gateway(binaries, folder / "streaming", port, KEYS, WORKERS) as ours:
            for _ in range(ROUNDS):
                ages["direct"] += event_ages_ms(port, native, EVENTS)
                ages["native"] += event_ages_ms(ours.port, native, EVENTS)
                ages["chat"] += event_ages_ms(ours.port, chat, EVENTS)
    p50 = {name: median(values) for name, values in ages.items()}
    p99 = {name: statistics.quantiles(values, n=100)[-1] for name, values in ages.items()}
    return [
        difference("age of a stream event, native, p50", p50["native"], p50["direct"], "direct", 1),
        difference("age of a stream event, chat, p50", p50["chat"], p50["direct"], "direct", 1),
        difference("age of a stream event, chat, p99", p99["chat"], p99["direct"], "direct", 1),
    ]


def memory(binaries: Path, folder: Path) -> list[Row]:
    prompt = "Count. [[events=1000 gap_ms=200]]"
    native = post(samples.NATIVE_STREAM_PATH, NATIVE_AUTH, samples.native_request(prompt))
    chat = post(samples.CHAT_PATH, CHAT_AUTH, samples.chat_request(prompt, stream=True))
    with (
        simulated_gemini(binaries, folder, MANY_KEYS) as sim,
        gateway(binaries, folder / "memory", sim.port, MANY_KEYS, WORKERS) as ours,
    ):
        time.sleep(3)
        idle = rss_mb(ours.pid)
        with open_streams(ours.port, [native, chat] * (STREAMS // 2)) as listeners:
            listeners.listen(8)
            if listeners.begun < STREAMS:
                raise SystemExit(f"only {listeners.begun} of {STREAMS} streams began")
        highest = rss_mb(ours.pid, "VmHWM")
    return [
        plain(f"RSS with {MANY_KEYS} keys, idle", idle, 40, "MB"),
        plain(f"highest RSS with {STREAMS} streams", highest, 150, "MB"),
    ]


def start(binaries: Path, folder: Path) -> list[Row]:
    fresh, again = [], []
    for number in range(STARTS):
        for seconds in (fresh, again):
            began = time.monotonic()
            with gateway(binaries, folder / f"start-{number}", 9, MANY_KEYS, WORKERS):
                seconds.append(time.monotonic() - began)
    return [
        plain(f"start to /ready, {MANY_KEYS} new keys", median(fresh), 0.5, "s"),
        plain(f"start to /ready, {MANY_KEYS} known keys", median(again), 0.5, "s"),
    ]


def very_many_keys(binaries: Path, folder: Path) -> list[Row]:
    """A pool that comes from the database: how soon it is there, and what a key costs that nobody uses."""
    with gateway(binaries, folder / "few", 9, 1, WORKERS) as ours:
        time.sleep(1)
        few = rss_mb(ours.pid)
    with gateway(binaries, folder / "very-many", 9, VERY_MANY_KEYS, WORKERS):
        pass
    began = time.monotonic()
    with gateway(binaries, folder / "very-many", 9, None, WORKERS) as ours:
        seconds = time.monotonic() - began
        time.sleep(1)
        per_key = (rss_mb(ours.pid) - few) * 1000 / VERY_MANY_KEYS
    return [
        plain(f"start to /ready, {VERY_MANY_KEYS} known keys", seconds, 3, "s"),
        plain(f"memory of a key, {VERY_MANY_KEYS} of them", per_key, 2, "KB"),
    ]


def main(binaries: Path) -> int:
    # Both become exceptions, so that every process is ended on the way out.
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, lambda number, _: sys.exit(f"ended by {signal.Signals(number).name}"))
    signal.alarm(LONGEST_RUN_SECONDS)
    load_before = os.getloadavg()
    print(f"{ROUNDS} rounds of {SECONDS} s, {WORKERS} worker(s) each on {os.cpu_count()} cores", flush=True)
    rows = leases(binaries.parent)
    with tempfile.TemporaryDirectory(prefix="gemini-balance-bench-") as name:
        for measure in (cpu_and_latency, streaming_delay, memory, start, very_many_keys):
            rows += measure(binaries, Path(name))
    print(table(rows))
    loads = " → ".join(f"{load[0]:.1f} {load[1]:.1f} {load[2]:.1f}" for load in (load_before, os.getloadavg()))
    print(f"load average {loads}; only ratios and differences are comparable between machines")
    return 0 if all(row.is_met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
