"""The Anthropic SDK against the gateway, with strict validation of every answer."""

import anthropic
import httpx
import pytest
from pydantic import BaseModel

from conftest import GATEWAY, TOKEN, gateway_only

MODEL = "gemini-2.5-flash"
SIGNING_MODEL = "gemini-3.5-flash"
# Exhausted on purpose; no other test uses it.
EXHAUSTED_MODEL = "gemini-3.1-pro-preview"

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
THINKING = {"type": "enabled", "budget_tokens": 1024}

pytestmark = gateway_only


def tool(name):
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"name": name, "description": name, "input_schema": city}


TOOLS = [tool("get_weather"), tool("get_time")]


def user(content):
    return [{"role": "user", "content": content}]


def connect(token=TOKEN, base=GATEWAY, **options):
    options.setdefault("max_retries", 0)
    return anthropic.Anthropic(base_url=base, api_key=token, _strict_response_validation=True, **options)


@pytest.fixture
def client():
    with connect() as client:
        yield client


def ask(client, content, **more):
    more.setdefault("model", MODEL)
    return client.messages.create(max_tokens=4096, messages=user(content), **more)


def kinds(message):
    return [block.type for block in message.content]


def test_an_answer_has_text_stop_reason_and_usage(client):
    message = ask(client, "hello")

    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    assert message.content[0].text == 'You wrote: "hello".'
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")


@pytest.mark.parametrize("system", ["be brief", [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]])
def test_a_system_prompt_becomes_the_system_instruction(client, system):
    assert 'I was told: "be brief".' in ask(client, "hello", system=system).content[0].text


def test_a_conversation_keeps_its_turns(client):
    messages = [*user("one"), {"role": "assistant", "content": "two"}, *user("three")]

    message = client.messages.create(model=MODEL, max_tokens=99, messages=messages)

    assert "This is turn 2." in message.content[0].text


def test_pictures_and_documents_arrive(client):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}
    content = [
        {"type": "text", "text": "what is it"},
        {"type": "image", "source": source},
        {"type": "document", "source": pdf},
    ]

    assert "I see 2 attachment(s)." in ask(client, content).content[0].text


def test_a_stream_adds_up_to_the_same_message(client):
    with client.messages.stream(model=MODEL, max_tokens=99, messages=user("hello")) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == message.content[0].text == 'You wrote: "hello".'
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0


def test_a_raw_stream_has_anthropics_events_in_their_order(client):
    stream = client.messages.create(model=MODEL, max_tokens=99, messages=user("hello"), stream=True)

    events = [event.type for event in stream]

    assert events[:2] == ["message_start", "content_block_start"]
    assert set(events[2:-3]) == {"content_block_delta"}
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_a_long_stream_loses_and_repeats_nothing(client):
    with client.messages.stream(model=MODEL, max_tokens=9999, messages=user("[[events=300]]")) as stream:
        text = stream.get_final_text()

    assert text.split() == [f"e{n}" for n in range(1, 301)]


def test_closing_a_stream_cancels_the_upstream_call(client, sim):
    stream = ask(client, "[[events=1000 gap_ms=50]]", stream=True)
    next(iter(stream))

    with sim.cancels(MODEL):
        stream.close()


def test_a_stream_that_breaks_off_ends_with_an_error(client):
    received = []
    with pytest.raises(anthropic.APIStatusError):
        with client.messages.stream(model=MODEL, max_tokens=999, messages=user("[[events=9 cut=3]]")) as stream:
            received.extend(stream.text_stream)

    assert "".join(received).split() == ["e1", "e2", "e3"]


def answer_of(client, is_streamed, **request):
    if not is_streamed:
        return client.messages.create(**request)
    with client.messages.stream(**request) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("thinking", [None, THINKING])
@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
def test_five_turns_of_parallel_tools_go_round(client, model, thinking, is_streamed):
    options = {"thinking": thinking} if thinking else {}
    messages = []
    for turn in range(1, 6):
        messages += user(f"round {turn}: please get_weather and get_time")
        request = {"model": model, "max_tokens": 4096, "messages": messages, "tools": TOOLS, **options}
        called = answer_of(client, is_streamed, **request)
        calls = [block for block in called.content if block.type == "tool_use"]

        assert called.stop_reason == "tool_use"
        assert [(call.name, call.input) for call in calls] == [
            ("get_weather", {"city": "a city"}),
            ("get_time", {"city": "a city"}),
        ]
        assert len({call.id for call in calls}) == 2
        if model == SIGNING_MODEL:
            assert kinds(called)[-3:] == ["thinking", "tool_use", "tool_use"]
            assert called.content[-3].signature
        assert any(block.type == "thinking" and block.thinking for block in called.content) == bool(thinking)

        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"{call.name} of round {turn}"}
            for call in reversed(calls)
        ]
        messages.append({"role": "assistant", "content": called.content})
        messages += user([*results, {"type": "text", "text": "Go on."}])
        told = answer_of(client, is_streamed, **request)

        assert told.stop_reason == "end_turn"
        text = "".join(block.text for block in told.content if block.type == "text")
        weather, time = (text.index(f"{name} of round {turn}") for name in ("get_weather", "get_time"))
        assert weather < time
        messages.append({"role": "assistant", "content": told.content})


def test_a_client_that_drops_thoughts_can_go_on(client):
    messages = user("get_weather")
    called = client.messages.create(model=SIGNING_MODEL, max_tokens=99, messages=messages, tools=TOOLS)
    call = called.content[-1]
    messages.append({"role": "assistant", "content": [call]})
    messages += user([{"type": "tool_result", "tool_use_id": call.id, "content": "rain", "is_error": True}])

    told = client.messages.create(model=SIGNING_MODEL, max_tokens=99, messages=messages, tools=TOOLS)

    assert '{"error":"rain"}' in told.content[0].text


def test_the_runner_of_tools_runs_to_the_end(client):
    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"rain in {city}"

    runner = client.beta.messages.tool_runner(
        model=SIGNING_MODEL, max_tokens=999, messages=user("please get_weather"), tools=[get_weather]
    )

    assert "rain in a city" in runner.until_done().content[-1].text


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, []),
        ({"type": "none"}, []),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
    ],
)
def test_tool_choice_is_obeyed(client, choice, expected):
    message = ask(client, "hello", tools=TOOLS, tool_choice=choice)

    assert [block.name for block in message.content if block.type == "tool_use"] == expected


def test_one_call_at_a_time(client):
    choice = {"type": "auto", "disable_parallel_tool_use": True}

    message = ask(client, "get_weather and get_time", tools=TOOLS, tool_choice=choice)

    assert [block.name for block in message.content if block.type == "tool_use"] == ["get_weather"]


@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
@pytest.mark.parametrize("thinking", [THINKING, {"type": "adaptive"}])
def test_thoughts_are_blocks_before_the_text(client, model, thinking):
    whole = ask(client, "hello", model=model, thinking=thinking)
    with client.messages.stream(model=model, max_tokens=4096, messages=user("hello"), thinking=thinking) as stream:
        events = [event.type for event in stream]
        streamed = stream.get_final_message()

    for message in (whole, streamed):
        assert kinds(message) == ["thinking", "text"]
        assert "Reading the prompt" in message.content[0].thinking and message.content[0].signature
        assert message.content[1].text == 'You wrote: "hello".'
    assert events.index("thinking") < events.index("signature") < events.index("text")


def test_thoughts_are_not_shown_to_those_who_do_not_ask(client):
    assert kinds(ask(client, "hello [[thoughts]]")) == ["text"]
    assert kinds(ask(client, "hello", thinking={"type": "adaptive", "display": "omitted"})) == ["text"]


class Forecast(BaseModel):
    city: str
    days: list[int]
    is_sunny: bool


def test_structured_output_is_parsed(client):
    message = client.messages.parse(
        model=MODEL, max_tokens=999, messages=user("forecast"), output_format=Forecast
    )

    assert message.parsed_output == Forecast(city="a city", days=[1, 1], is_sunny=True)


def test_limits_and_stop_sequences_end_the_text(client):
    short = client.messages.create(model=MODEL, max_tokens=2, messages=user("hello"))
    stopped = ask(client, "one STOP two", stop_sequences=["STOP"])
    # Gemini looks for five; the gateway for the others.
    many = ask(client, "one STOP two", stop_sequences=["a!", "b!", "c!", "d!", "e!", "STOP"])

    assert short.stop_reason == "max_tokens"
    assert stopped.content[0].text == many.content[0].text == 'You wrote: "one '
    assert (many.stop_reason, many.stop_sequence) == ("stop_sequence", "STOP")


def test_tokens_are_counted(client):
    short = client.messages.count_tokens(model=MODEL, messages=user("hello"))
    long = client.messages.count_tokens(model=MODEL, messages=user("hello " * 100), system="be brief", tools=TOOLS)

    assert 0 < short.input_tokens < long.input_tokens


def test_models_are_listed_and_found(client):
    ids = [model.id for model in client.models.list()]
    pages = [model.id for model in client.models.list(limit=2)]

    assert MODEL in ids and pages == ids
    assert not any("embedding" in model for model in ids)
    assert client.models.retrieve(MODEL).max_tokens > 0


@pytest.mark.parametrize("content", [[], [{"type": "never"}], [{"type": "tool_result", "tool_use_id": "x"}]])
def test_a_bad_request_is_a_bad_request(client, content):
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, content)

    assert caught.value.body["error"]["message"].startswith("messages.0")
    assert caught.value.body["request_id"] == caught.value.request_id


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError):
        ask(client, "hello", model="gemini-0-nobody")


def test_a_wrong_token_is_an_authentication_error():
    with connect("sk-nobody") as client, pytest.raises(anthropic.AuthenticationError) as caught:
        ask(client, "hello")
    assert "sk-nobody" not in str(caught.value)


def test_exhausted_keys_are_a_rate_limit(client, sim):
    sim.set_weather({"fault": {"refuse": "bare_limit"}, "model": EXHAUSTED_MODEL})

    with pytest.raises(anthropic.RateLimitError) as caught:
        for _ in range(len(sim.keys())):
            ask(client, "hello", model=EXHAUSTED_MODEL)

    assert int(caught.value.response.headers["retry-after"]) > 0


def test_a_blocked_prompt_is_an_answer_and_no_crash(client):
    message = ask(client, "[[blocked]]")

    assert (message.stop_reason, message.content) == ("refusal", [])
    assert "blocked" in message.stop_details.explanation


def test_the_other_prefix_answers_too():
    with connect(base=f"{GATEWAY}/anthropic") as client:
        assert ask(client, "hello").content[0].text == 'You wrote: "hello".'
        assert any(model.id == MODEL for model in client.models.list())


def test_older_clients_send_their_token_in_another_header():
    headers = {"x-api-key": TOKEN, "anthropic-version": "2023-06-01"}
    body = {"model": MODEL, "max_tokens": 99, "messages": user("hello"), "temperature": 0.5}

    answer = httpx.post(f"{GATEWAY}/v1/messages", headers=headers, json=body)

    assert answer.json()["content"][0]["text"] == 'You wrote: "hello".'
