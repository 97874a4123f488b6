"""The OpenAI SDK against the gateway, with strict validation of every answer."""

import base64
import json

import openai
import pytest
from pydantic import BaseModel

from conftest import GATEWAY, IS_GATEWAY, OPENAI_BASE, TOKEN, gateway_only

MODEL = "gemini-2.5-flash"
SIGNING_MODEL = "gemini-3.5-flash"
EMBEDDING_MODEL = "gemini-embedding-001"
# Exhausted on purpose; no other test uses it.
EXHAUSTED_MODEL = "gemini-2.5-pro"

PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def tool(name):
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": city}}


TOOLS = [tool("get_weather"), tool("get_time")]


def user(text):
    return [{"role": "user", "content": text}]


def connect(token=TOKEN, is_strict=True):
    return openai.OpenAI(
        base_url=OPENAI_BASE, api_key=token, max_retries=0, _strict_response_validation=is_strict
    )


@pytest.fixture
def client():
    with connect() as client:
        yield client


@pytest.fixture
def lenient():
    """For the two answers that strict validation cannot take: vectors as base64, and models as Google lists them."""
    with connect(is_strict=False) as client:
        yield client


def test_an_answer_has_text_finish_reason_and_usage(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello"))

    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == 'You wrote: "hello".'
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens > 0 and answer.usage.total_tokens >= answer.usage.completion_tokens > 0


def test_system_messages_become_the_system_instruction(client):
    messages = [{"role": "developer", "content": "be brief"}, *user("hello")]

    answer = client.chat.completions.create(model=MODEL, messages=messages)

    assert 'I was told: "be brief".' in answer.choices[0].message.content


def test_a_conversation_keeps_its_turns(client):
    messages = [*user("one"), {"role": "assistant", "content": "two"}, *user("three")]

    answer = client.chat.completions.create(model=MODEL, messages=messages)

    assert "This is turn 2." in answer.choices[0].message.content


def test_an_image_by_data_url_arrives(client):
    parts = [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": PIXEL}}]

    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])

    assert "I see 1 attachment(s)." in answer.choices[0].message.content


def test_a_stream_says_the_same_under_one_id_and_counts_at_the_end(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=user("hello"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert text == 'You wrote: "hello".'
    assert len({chunk.id for chunk in chunks}) == 1
    assert finishes == ["stop"]
    assert chunks[-1].usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_a_stream_without_the_option_has_no_usage(client):
    stream = client.chat.completions.create(model=MODEL, messages=user("hello"), stream=True)

    assert all(chunk.usage is None for chunk in stream)


def test_a_long_stream_loses_and_repeats_nothing(client):
    stream = client.chat.completions.create(model=MODEL, messages=user("[[events=300]]"), stream=True)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    assert text.split() == [f"e{n}" for n in range(1, 301)]


def test_closing_a_stream_cancels_the_upstream_call(client, sim):
    stream = client.chat.completions.create(model=MODEL, messages=user("[[events=1000 gap_ms=50]]"), stream=True)
    next(iter(stream))

    with sim.cancels(MODEL):
        stream.close()


@gateway_only
def test_a_stream_that_breaks_off_ends_with_an_error(client):
    # The two events of thoughts, which the gateway asks for, count as well.
    stream = client.chat.completions.create(model=MODEL, messages=user("[[events=9 cut=5]]"), stream=True)

    received = []
    with pytest.raises(openai.APIError):
        for chunk in stream:
            received += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    assert "".join(received).split() == ["e1", "e2", "e3"]


@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
def test_parallel_calls_go_round(client, model):
    messages = user("please get_weather and get_time")
    first = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    calls = first.choices[0].message.tool_calls

    assert first.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert json.loads(calls[0].function.arguments) == {"city": "a city"}
    assert len({call.id for call in calls}) == 2

    messages.append(first.choices[0].message)
    for call in calls:
        result = json.dumps({"about": call.function.name})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    second = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)

    assert second.choices[0].finish_reason == "stop"
    for call in calls:
        assert f"The function {call.function.name} answered" in second.choices[0].message.content


@gateway_only
@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
def test_the_accumulator_puts_streamed_calls_together(client, model):
    with client.chat.completions.stream(
        model=model, messages=user("get_weather and get_time"), tools=TOOLS
    ) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_completion()

    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]


def test_streamed_calls_have_index_id_name_and_arguments(client):
    stream = client.chat.completions.create(model=MODEL, messages=user("get_weather"), tools=TOOLS, stream=True)

    pieces = [call for chunk in stream for choice in chunk.choices for call in choice.delta.tool_calls or []]

    assert {piece.index for piece in pieces} == {0}
    assert pieces[0].id and pieces[0].function.name == "get_weather"
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces)) == {"city": "a city"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", None),
        ("required", "get_weather"),
        ({"type": "function", "function": {"name": "get_time"}}, "get_time"),
    ],
)
def test_tool_choice_is_obeyed(client, choice, expected):
    answer = client.chat.completions.create(
        model=MODEL, messages=user("hello"), tools=TOOLS, tool_choice=choice
    )

    calls = answer.choices[0].message.tool_calls
    assert (calls[0].function.name if calls else None) == expected


class Forecast(BaseModel):
    city: str
    days: list[int]
    is_sunny: bool


def test_structured_output_is_parsed(client):
    answer = client.chat.completions.parse(model=MODEL, messages=user("forecast"), response_format=Forecast)

    assert answer.choices[0].message.parsed == Forecast(city="a city", days=[1, 1], is_sunny=True)


def test_a_json_object_is_json(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=user("hello"), response_format={"type": "json_object"}
    )

    assert json.loads(answer.choices[0].message.content) == {"answer": "hello"}


def test_a_token_limit_ends_with_length(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello"), max_completion_tokens=2)

    assert answer.choices[0].finish_reason == "length"


def test_a_stop_sequence_ends_the_text(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("one STOP two"), stop=["STOP"], seed=7)

    assert answer.choices[0].message.content == 'You wrote: "one '


@gateway_only
def test_thoughts_are_reasoning_content(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=user("hello [[thoughts]]"), reasoning_effort="low"
    )
    message = answer.choices[0].message

    assert "Reading the prompt" in message.reasoning_content
    assert message.content == 'You wrote: "hello".'


@gateway_only
def test_thoughts_are_streamed_before_the_content(client):
    stream = client.chat.completions.create(
        model=MODEL, messages=user("hello [[thoughts]]"), reasoning_effort="low", stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in stream if chunk.choices]

    is_thought = [bool(getattr(delta, "reasoning_content", None)) for delta in deltas]
    is_text = [bool(delta.content) for delta in deltas]
    assert any(is_thought)
    assert is_text.index(True) > max(at for at, thought in enumerate(is_thought) if thought)


@gateway_only
def test_several_choices_are_answered(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello"), n=2)

    assert [choice.index for choice in answer.choices] == [0, 1]


def test_embeddings_are_the_same_by_default_and_as_floats(client, lenient):
    by_default = lenient.embeddings.create(model=EMBEDDING_MODEL, input="hello", dimensions=256)
    as_floats = client.embeddings.create(
        model=EMBEDDING_MODEL, input="hello", dimensions=256, encoding_format="float"
    )

    assert len(by_default.data[0].embedding) == 256
    assert by_default.data[0].embedding == pytest.approx(as_floats.data[0].embedding, abs=1e-6)


def test_embeddings_as_base64_are_base64(client):
    raw = client.embeddings.with_raw_response.create(
        model=EMBEDDING_MODEL, input="hello", dimensions=8, encoding_format="base64"
    )

    assert len(base64.b64decode(json.loads(raw.text)["data"][0]["embedding"])) == 8 * 4


def test_embeddings_keep_their_order(lenient):
    vectors = lenient.embeddings.create(model=EMBEDDING_MODEL, input=["a", "b", "a"], dimensions=16).data

    assert [vector.index for vector in vectors] == [0, 1, 2]
    assert vectors[0].embedding == vectors[2].embedding != vectors[1].embedding


def test_models_are_listed_and_found(client, lenient):
    models = client.models if IS_GATEWAY else lenient.models

    ids = [model.id.removeprefix("models/") for model in models.list()]

    assert MODEL in ids
    assert models.retrieve(MODEL).id.removeprefix("models/") == MODEL
    assert models.retrieve(f"models/{MODEL}").object == "model"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gemini-0-nobody", messages=user("hello"))


@pytest.mark.parametrize("messages", [[], [{"role": "nobody", "content": "hello"}]])
def test_a_bad_request_is_a_bad_request(client, messages):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=messages)
    if IS_GATEWAY:
        assert caught.value.type == "invalid_request_error"
        assert caught.value.body["message"]


@gateway_only
def test_a_wrong_token_is_an_authentication_error():
    with connect("sk-nobody") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=MODEL, messages=user("hello"))
    assert "sk-nobody" not in str(caught.value)


@gateway_only
def test_an_answer_has_a_request_id(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("hello"))

    assert answer._request_id


@gateway_only
@pytest.mark.parametrize("fault", ["empty", {"refuse": "internal"}, {"refuse": "overloaded"}, {"cut": 0}])
def test_a_failing_key_is_hidden_from_the_client(client, sim, fault):
    key = sim.keys()[0]
    sim.set_behaviour(key, faults=[{"fault": fault}])
    try:
        for _ in range(2 * len(sim.keys())):
            answer = client.chat.completions.create(model=MODEL, messages=user("hello"))
            assert answer.choices[0].message.content == 'You wrote: "hello".'
    finally:
        sim.set_behaviour(key)


@gateway_only
@pytest.mark.parametrize("prefix", ["/hf/v1", "/openai/v1"])
def test_the_other_prefixes_answer_too(prefix):
    with openai.OpenAI(base_url=GATEWAY + prefix, api_key=TOKEN, max_retries=0) as client:
        answer = client.chat.completions.create(model=MODEL, messages=user("hello"))
        stream = client.chat.completions.create(model=MODEL, messages=user("hello"), stream=True)

        assert answer.choices[0].message.content == 'You wrote: "hello".'
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == 'You wrote: "hello".'
        assert any(model.id.removeprefix("models/") == MODEL for model in client.models.list())


def test_exhausted_keys_are_a_rate_limit(client, sim):
    sim.set_weather({"fault": {"refuse": "bare_limit"}, "model": EXHAUSTED_MODEL})

    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(len(sim.keys())):
            client.chat.completions.create(model=EXHAUSTED_MODEL, messages=user("hello"))
    if IS_GATEWAY:
        assert int(caught.value.response.headers["retry-after"]) > 0


@gateway_only
def test_a_blocked_prompt_is_an_answer_and_no_crash(client):
    answer = client.chat.completions.create(model=MODEL, messages=user("[[blocked]]"))

    assert answer.choices[0].finish_reason == "content_filter"


def plain(message):
    """What a client keeps that knows nothing of fields that OpenAI does not have, such as signatures."""
    calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or []]
    return {"role": "assistant", "content": message.content, **({"tool_calls": calls} if calls else {})}


@gateway_only
@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_agent_goes_on_for_five_turns_with_parallel_calls(client, model, is_stream):
    def ask(messages):
        if not is_stream:
            return client.chat.completions.create(model=model, messages=messages, tools=TOOLS).choices[0]
        with client.chat.completions.stream(model=model, messages=messages, tools=TOOLS) as stream:
            return stream.get_final_completion().choices[0]

    messages, ids = [], []
    for turn in range(5):
        messages += user(f"turn {turn}: get_weather and get_time")
        asked = ask(messages)
        calls = asked.message.tool_calls
        assert asked.finish_reason == "tool_calls"
        assert [call.function.name for call in calls] == ["get_weather", "get_time"]
        ids += [call.id for call in calls]
        messages.append(plain(asked.message))
        # Results may come in any order.
        for call in reversed(calls):
            result = json.dumps({"turn": turn, "about": call.function.name})
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        told = ask(messages)
        assert told.finish_reason == "stop"
        for call in calls:
            assert f"The function {call.function.name} answered" in told.message.content
        messages.append(plain(told.message))
    assert len(set(ids)) == len(ids)


@gateway_only
def test_a_streamed_answer_is_parsed(client):
    with client.chat.completions.stream(
        model=MODEL, messages=user("forecast"), response_format=Forecast
    ) as stream:
        answer = stream.get_final_completion()

    assert answer.choices[0].message.parsed == Forecast(city="a city", days=[1, 1], is_sunny=True)


@gateway_only
def test_functions_from_before_there_were_tools_are_called(client):
    functions = [TOOLS[0]["function"]]
    messages = user("please get_weather")

    first = client.chat.completions.create(model=MODEL, messages=messages, functions=functions)
    call = first.choices[0].message.function_call
    messages += [
        {"role": "assistant", "content": None, "function_call": call.model_dump()},
        {"role": "function", "name": call.name, "content": "rain"},
    ]
    second = client.chat.completions.create(model=MODEL, messages=messages, functions=functions)

    assert first.choices[0].finish_reason == "function_call"
    assert "The function get_weather answered" in second.choices[0].message.content


@gateway_only
def test_what_other_models_know_does_not_fail(client):
    answer = client.chat.completions.create(
        model=MODEL, messages=user("hello"), frequency_penalty=0.5, presence_penalty=-0.5, user="u", store=False
    )

    assert answer.choices[0].message.content == 'You wrote: "hello".'


@gateway_only
@pytest.mark.parametrize("suffix", ["-search", "-non-thinking", "-search-non-thinking"])
def test_names_with_suffixes_are_answered_under_their_own_name(client, suffix):
    answer = client.chat.completions.create(model=MODEL + suffix, messages=user("hello"))

    assert answer.model == MODEL + suffix
    assert 'You wrote: "hello".' in answer.choices[0].message.content
    assert f"{MODEL}-search" in [model.id for model in client.models.list()]


@gateway_only
def test_a_remote_picture_from_inside_is_refused(client):
    parts = [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest/meta-data/"}}]

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": parts}])

    assert (caught.value.param, caught.value.code) == ("messages[0].content[0].image_url", "invalid_image_url")
