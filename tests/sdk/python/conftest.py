"""Where the suites of the Python SDKs find the gateway, and how they steer the simulated Gemini behind it.

GATEWAY_URL, GATEWAY_TOKEN and SIM_URL are required. SDK_TARGET=sim says that GATEWAY_URL is the simulation itself: then the
OpenAI client speaks to Google's own OpenAI layer, and what only a gateway does is skipped.
"""

import contextlib
import os
import time

import httpx
import pytest

GATEWAY = os.environ["GATEWAY_URL"].rstrip("/")
TOKEN = os.environ["GATEWAY_TOKEN"]
SIM = os.environ["SIM_URL"].rstrip("/")
IS_GATEWAY = os.environ.get("SDK_TARGET", "gateway") == "gateway"
OPENAI_BASE = f"{GATEWAY}/v1" if IS_GATEWAY else f"{GATEWAY}/v1beta/openai"
# A client that hangs up frees its key's slot at once.
MAX_CANCEL_MS = 100

gateway_only = pytest.mark.skipif(not IS_GATEWAY, reason="Google's own layer does not do this")


class Sim:
    """The simulation's control endpoints."""

    def state(self):
        return httpx.get(f"{SIM}/_sim/state").json()

    def set_weather(self, *spells):
        httpx.put(f"{SIM}/_sim/weather", json=list(spells)).raise_for_status()

    def set_behaviour(self, key, **behaviour):
        httpx.put(f"{SIM}/_sim/keys/{key}", json=behaviour).raise_for_status()

    def keys(self):
        return list(self.state()["keys"])

    @contextlib.contextmanager
    def cancels(self, model):
        """What happens inside must end one upstream call on `model`, at most MAX_CANCEL_MS after it has happened."""
        known = len(self.state()["cancelled"])
        yield
        done_ms = time.time() * 1000
        deadline = time.monotonic() + 2
        while len(cancelled := self.state()["cancelled"]) == known:
            assert time.monotonic() < deadline, "the upstream connection is still open"
            time.sleep(0.01)
        assert [call["model"] for call in cancelled[known:]] == [model]
        assert cancelled[known]["at_ms"] - done_ms < MAX_CANCEL_MS


@pytest.fixture
def sim():
    sim = Sim()
    yield sim
    sim.set_weather()
