"""Every field that the SDKs' own types can express has its fate in FIELDS.md."""

import pathlib
import re

import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from anthropic.types.beta import message_create_params as beta_message_create_params
from openai.types import embedding_create_params
from openai.types.chat import completion_create_params
from openai.types.responses import response_create_params

ROOT = pathlib.Path(__file__).parents[3]


def fates(heading):
    text = (ROOT / "FIELDS.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \| (?:honoured|mapped|ignored|refused) \|", section, re.MULTILINE))


def fields(params):
    return params.__required_keys__ | params.__optional_keys__


@pytest.mark.parametrize(
    ("heading", "types"),
    [
        ("OpenAI's chat completions", [completion_create_params.CompletionCreateParamsNonStreaming]),
        ("OpenAI's responses", [response_create_params.ResponseCreateParamsNonStreaming]),
        ("OpenAI's embeddings", [embedding_create_params.EmbeddingCreateParams]),
        (
            "Anthropic's messages",
            [
                message_create_params.MessageCreateParamsNonStreaming,
                message_count_tokens_params.MessageCountTokensParams,
                beta_message_create_params.MessageCreateParamsNonStreaming,
            ],
        ),
    ],
)
def test_every_field_of_the_types_has_a_fate(heading, types):
    known = set().union(*(fields(params) for params in types))

    assert len(known) >= 5
    assert known - fates(heading) == set()
