"""Whatever the SDKs' own types can express is answered, or refused with 400 that names the field; it is never an error of ours.

The simulated Gemini judges what it is sent as Google does, so a request that is wrongly translated is refused there, without a
field, and fails here.
"""

import json
import random
import re
import types
import typing

import httpx
import pytest
import typing_extensions
from anthropic.types import message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params
from openai.types import embedding_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

from conftest import GATEWAY, TOKEN, gateway_only

pytestmark = gateway_only

REQUESTS = 400
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MODELS = ["gemini-2.5-flash", "gemini-3.5-flash", "gemini-3.1-pro-preview"]
WORDS = ["hello", "call_1", "get_weather", "a b/ü", "1", "x" * 80]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
# Fields whose text must be of a certain kind to get past the first look.
TEXTS = {
    "url": [f"data:image/png;base64,{PIXEL}", "https://www.youtube.com/watch?v=x"],
    "image_url": [f"data:image/png;base64,{PIXEL}"],
    "data": [PIXEL],
    "file_data": [PIXEL, f"data:application/pdf;base64,{PIXEL}"],
    "file_url": ["https://www.youtube.com/watch?v=x"],
    "arguments": ['{"city":"Oslo"}', "", "no JSON"],
    "media_type": ["image/png", "application/pdf"],
    "name": ["get_weather", "get time"],
}
OBJECTS = {"parameters": SCHEMA, "schema": SCHEMA, "input_schema": SCHEMA, "input": {"city": "Oslo"}, "metadata": {"k": "v"}}
NUMBERS = {
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "max_tokens": 4000,
    "budget_tokens": 1024,
    "n": 2,
    "max_output_tokens": 99,
}
# Fields that nothing stands without, and those that are seldom there, as most that they ask for is refused.
ALWAYS = {"input", "model"}
SELDOM = {"logit_bias", "mcp_servers", "thread", "conversation", "prompt", "previous_response_id", "top_logprobs", "audio"}


REQUIRED = (typing.Required, typing_extensions.Required)


class Maker:
    """Makes values of the types that are there at run time."""

    def __init__(self, seed, models=MODELS):
        self.random = random.Random(seed)
        self.models = models

    def make(self, kind, name="", depth=0):
        origin = typing.get_origin(kind)
        arguments = typing.get_args(kind)
        if name == "model":
            return self.random.choice(self.models)
        if origin is typing.Literal:
            return self.random.choice(arguments)
        if origin in (typing.Union, types.UnionType):
            # Deep down the first ones do, so that what refers to itself ends.
            return self.make(self.random.choice(arguments if depth < 5 else arguments[:2]), name, depth + 1)
        if origin in (*REQUIRED, typing.NotRequired, typing.Annotated):
            return self.make(arguments[0], name, depth)
        if typing_extensions.is_typeddict(kind):
            return self.fields(kind, depth)
        if origin in (dict, types.MappingProxyType) or kind is dict:
            return OBJECTS.get(name, {"k": "v"})
        if isinstance(origin, type) and issubclass(origin, typing.Iterable):
            least = 1 if depth < 2 else 0
            return [self.make(arguments[0], name, depth + 1) for _ in range(self.random.randint(least, 2))]
        return self.plain(kind, name)

    def fields(self, kind, depth):
        hints = typing_extensions.get_type_hints(kind, include_extras=True)
        share = 0.3 if depth < 3 else 0.1
        shares = {name: 1 if name in ALWAYS else share / 5 if name in SELDOM else share for name in hints}
        # `__required_keys__` knows nothing of annotations that are text, as those of the SDKs are.
        required = {name for name in hints if typing.get_origin(hints[name]) in REQUIRED}
        wanted = [name for name in hints if name in required or self.random.random() < shares[name]]
        return {name: self.make(hints[name], name, depth + 1) for name in wanted}

    def plain(self, kind, name):
        if kind is type(None):
            return None
        if kind is bool:
            return self.random.random() < 0.5
        if kind in (int, float):
            return NUMBERS.get(name, kind(self.random.randint(0, 5)))
        if kind is str:
            return self.random.choice(TEXTS.get(name, WORDS))
        if kind is object:
            return OBJECTS.get(name, "hello")
        # Files and the like, which never stand in a JSON body.
        return self.random.choice(WORDS)


def refused_field(dialect, body):
    """What an error names: the field at the top."""
    error = body["error"]
    place = error["message"].split(":")[0] if dialect == "anthropic" else error["param"]
    return re.split(r"[.\[]", place or "")[0]


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/v1/chat/completions", completion_create_params.CompletionCreateParamsNonStreaming),
        ("/v1/chat/completions", completion_create_params.CompletionCreateParamsStreaming),
        ("/v1/responses", response_create_params.ResponseCreateParamsNonStreaming),
        ("/v1/responses", response_create_params.ResponseCreateParamsStreaming),
        ("/v1/embeddings", embedding_create_params.EmbeddingCreateParams),
        ("/v1/messages", message_create_params.MessageCreateParamsNonStreaming),
        ("/v1/messages", beta_message_create_params.MessageCreateParamsStreaming),
    ],
)
def test_whatever_the_types_can_express_is_answered_or_refused_by_its_field(path, params):
    dialect = "anthropic" if "messages" in path else "openai"
    models = ["gemini-embedding-001"] if "embeddings" in path else MODELS
    fields = typing_extensions.get_type_hints(params)
    outcomes = {200: 0, 400: 0}
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=GATEWAY, headers=headers, timeout=30) as client:
        for seed in range(REQUESTS):
            body = Maker(seed, models).make(params)
            # The simulation takes its time for what is made while nobody waits.
            body.pop("background", None)
            reply = client.post(path, json=body)

            what = f"{seed}: {reply.status_code} {reply.text[:600]}\n{json.dumps(body)[:3000]}"
            assert reply.status_code in outcomes, what
            outcomes[reply.status_code] += 1
            if reply.status_code == 400:
                assert refused_field(dialect, reply.json()) in fields, what
            elif body.get("stream"):
                assert "error" not in reply.text.rsplit("\n\ndata: ", 1)[-1].split(":")[0], what
    # Both happen, else nothing was shown.
    assert min(outcomes.values()) > REQUESTS / 20, outcomes
