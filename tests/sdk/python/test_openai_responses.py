"""The OpenAI SDK's Responses API against the gateway, with strict validation of every answer."""

import json

import openai
import pytest
from pydantic import BaseModel

from conftest import OPENAI_BASE, TOKEN, gateway_only

pytestmark = gateway_only

MODEL = "gemini-2.5-flash"
SIGNING_MODEL = "gemini-3.5-flash"


def tool(name):
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
    return {"type": "function", "name": name, "description": name, "parameters": city, "strict": True}


TOOLS = [tool("get_weather"), tool("get_time")]


class Forecast(BaseModel):
    city: str
    days: list[int]
    is_sunny: bool


@pytest.fixture
def client():
    return openai.OpenAI(base_url=OPENAI_BASE, api_key=TOKEN, max_retries=0, _strict_response_validation=True)


def calls_of(response):
    return [item for item in response.output if item.type == "function_call"]


def results(response, turn):
    """One for each call, in another order."""
    return [
        {
            "type": "function_call_output",
            "call_id": call.call_id,
            "output": json.dumps({"turn": turn, "about": call.name}),
        }
        for call in reversed(calls_of(response))
    ]


def test_an_answer_has_text_status_and_usage(client):
    response = client.responses.create(model=MODEL, input="hello", instructions="Be brief.", metadata={"k": "v"})

    assert (response.status, response.object, response.model) == ("completed", "response", MODEL)
    assert "hello" in response.output_text and "Be brief." in response.output_text
    assert response.usage.total_tokens >= response.usage.input_tokens + response.usage.output_tokens > 0
    assert response.metadata == {"k": "v"}
    assert response._request_id


def test_a_stream_says_the_same_with_numbered_events(client):
    events = list(client.responses.create(model=MODEL, input="[[events=50]]", stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[1].type, events[-1].type] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == " ".join(f"e{n}" for n in range(1, 51))


def test_the_stream_helper_puts_a_response_together(client):
    with client.responses.stream(model=SIGNING_MODEL, input="hello", reasoning={"summary": "auto"}) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()

    assert "response.reasoning_summary_text.delta" in kinds and "response.output_text.delta" in kinds
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output[0].summary[0].text.startswith("**Reading the prompt**")
    assert "hello" in response.output_text


def test_structured_output_is_parsed(client):
    response = client.responses.parse(model=MODEL, input="forecast", text_format=Forecast)
    assert response.output_parsed == Forecast(city="a city", days=[1, 1], is_sunny=True)

    with client.responses.stream(model=MODEL, input="forecast", text_format=Forecast) as stream:
        response = stream.until_done().get_final_response()
    assert response.output_parsed == Forecast(city="a city", days=[1, 1], is_sunny=True)


@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("keeps", ["gateway", "items", "items without signatures"])
def test_an_agent_goes_on_for_five_turns_with_parallel_calls(client, model, is_stream, keeps):
    """The conversation is kept by the gateway, or by the client as items, with encrypted reasoning or without any."""
    history, previous, ids = [], None, []

    def ask(items):
        nonlocal previous
        request = {"model": model, "tools": TOOLS}
        if keeps == "gateway":
            request |= {"input": items, "previous_response_id": previous}
        else:
            history.extend(items)
            include = ["reasoning.encrypted_content"] if keeps == "items" else []
            request |= {"input": history, "store": False, "include": include}
        if is_stream:
            with client.responses.stream(**request) as stream:
                response = stream.until_done().get_final_response()
        else:
            response = client.responses.create(**request)
        previous = response.id
        if keeps == "items":
            history.extend(item.to_dict() for item in response.output)
        elif keeps != "gateway":
            history.extend(item.to_dict() for item in response.output if item.type != "reasoning")
        return response

    for turn in range(5):
        asked = ask([{"role": "user", "content": f"turn {turn}: get_weather and get_time"}])
        calls = calls_of(asked)
        assert [call.name for call in calls] == ["get_weather", "get_time"]
        ids += [call.call_id for call in calls]
        told = ask(results(asked, turn))
        for call in calls:
            assert f"The function {call.name} answered" in told.output_text
    assert len(set(ids)) == len(ids)


def test_references_stand_for_items(client):
    first = client.responses.create(model=MODEL, input="one")
    items = [{"role": "user", "content": "one"}, {"type": "item_reference", "id": first.output[-1].id}]

    second = client.responses.create(model=MODEL, input=[*items, {"role": "user", "content": "two"}])

    assert "two" in second.output_text


def test_an_image_by_data_url_and_a_file_arrive(client):
    pixel = (
        "data:image/png;base64,"
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    content = [
        {"type": "input_text", "text": "what is this?"},
        {"type": "input_image", "image_url": pixel, "detail": "auto"},
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="},
    ]

    response = client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])

    assert "2" in response.output_text


def test_a_web_search_is_offered_and_its_answer_valid(client):
    response = client.responses.create(
        model=MODEL, input="hello", tools=[{"type": "web_search"}], include=["web_search_call.action.sources"]
    )

    assert response.status == "completed"
    assert response.tools[0].type == "web_search"
    searches = [item for item in response.output if item.type == "web_search_call"]
    assert searches[0].action.queries
    [text] = [part for item in response.output if item.type == "message" for part in item.content]
    citation = text.annotations[0]
    assert citation.type == "url_citation" and citation.url.startswith("https://")
    assert 0 <= citation.start_index < citation.end_index <= len(text.text)


def test_kept_responses_are_found_listed_and_deleted(client):
    items = [{"role": "user", "content": f"part {n}"} for n in range(5)]
    created = client.responses.create(model=MODEL, input=items)

    found = client.responses.retrieve(created.id)
    assert found.to_dict() == created.to_dict()
    listed = [item.content[0].text for item in client.responses.input_items.list(created.id, limit=2, order="asc")]
    assert listed == [f"part {n}" for n in range(5)]
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(created.id)
    client.responses.delete(created.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(created.id)
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(model=MODEL, input="go on", previous_response_id=created.id)
    assert (error.value.code, error.value.param) == ("previous_response_not_found", "previous_response_id")


def test_input_tokens_are_counted(client):
    counted = client.responses.input_tokens.count(model=MODEL, input="hello", instructions="Be brief.")

    assert counted.input_tokens > 0


def test_a_token_limit_leaves_the_response_incomplete(client):
    response = client.responses.create(model=MODEL, input="a long story " * 20, max_output_tokens=3)

    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_blocked_prompt_is_a_refusal(client):
    response = client.responses.create(model=MODEL, input="[[blocked]]")

    assert (response.status, response.incomplete_details.reason) == ("incomplete", "content_filter")
    assert response.output[0].content[0].type == "refusal"


def test_a_stream_that_breaks_off_raises(client):
    with pytest.raises(openai.APIError):
        list(client.responses.create(model=MODEL, input="[[events=9 event_error=3]]", stream=True))


def test_what_gemini_has_not_is_refused_by_name(client):
    with pytest.raises(openai.BadRequestError) as error:
        client.responses.create(
            model=MODEL, input="hello", tools=[{"type": "file_search", "vector_store_ids": ["vs_1"]}]
        )
    assert error.value.param == "tools[0].type" and "file_search" in error.value.message


def test_closing_a_stream_cancels_the_upstream_call(client, sim):
    with client.responses.create(model=MODEL, input="[[events=500 gap_ms=20]]", stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
        with sim.cancels(MODEL):
            stream.close()


def test_a_response_in_the_background_is_polled_and_told_from_any_place(client):
    created = client.responses.create(model=MODEL, input="[[events=40 gap_ms=20]]", background=True)
    assert (created.status, created.background, created.output) == ("in_progress", True, [])

    events = list(client.responses.retrieve(created.id, stream=True))
    rest = list(client.responses.retrieve(created.id, stream=True, starting_after=10))
    done = client.responses.retrieve(created.id)

    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.sequence_number for event in rest] == list(range(11, len(events)))
    assert done.status == "completed"
    assert done.output_text == events[-1].response.output_text == " ".join(f"e{n}" for n in range(1, 41))


def test_a_response_in_the_background_outlives_its_stream_until_it_is_cancelled(client, sim):
    stream = client.responses.create(model=MODEL, input="[[events=1000 gap_ms=50]]", background=True, stream=True)
    created = next(iter(stream)).response
    for event in stream:
        if event.type == "response.output_text.delta":
            break
    stream.close()
    assert client.responses.retrieve(created.id).status == "in_progress"

    with sim.cancels(MODEL):
        cancelled = client.responses.cancel(created.id)

    assert cancelled.status == client.responses.retrieve(created.id).status == "cancelled"
