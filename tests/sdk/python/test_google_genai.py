"""Google's SDK against the gateway, unchanged but for its base URL."""

import base64

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from conftest import GATEWAY, IS_GATEWAY, TOKEN, gateway_only

MODEL = "gemini-2.5-flash"
SIGNING_MODEL = "gemini-3.6-flash"
EMBEDDING_MODEL = "gemini-embedding-001"
# Exhausted on purpose; no other test uses it.
EXHAUSTED_MODEL = "gemini-2.5-flash-lite"

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def connect(token=TOKEN, version=None):
    options = types.HttpOptions(base_url=GATEWAY, api_version=version)
    return genai.Client(api_key=token, http_options=options)


@pytest.fixture(params=[None, "v1beta"])
def client(request):
    with connect(version=request.param) as client:
        yield client


def get_weather(city: str) -> dict:
    """The weather of a city."""
    return {"weather": f"sun over {city}"}


def get_time(city: str) -> dict:
    """The time in a city."""
    return {"time": f"noon in {city}"}


@gateway_only
def test_the_original_prefix_answers_too():
    options = types.HttpOptions(base_url=f"{GATEWAY}/gemini", api_version="v1beta")
    with genai.Client(api_key=TOKEN, http_options=options) as client:
        assert client.models.generate_content(model=MODEL, contents="hello").text == 'You wrote: "hello".'


def test_an_answer_has_text_and_usage(client):
    answer = client.models.generate_content(model=MODEL, contents="hello")

    assert answer.text == 'You wrote: "hello".'
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > answer.usage_metadata.prompt_token_count > 0
    assert answer.model_version == MODEL


def test_a_system_instruction_and_an_image_arrive(client):
    image = types.Part.from_bytes(data=PIXEL, mime_type="image/png")
    config = types.GenerateContentConfig(system_instruction="be brief")

    answer = client.models.generate_content(model=MODEL, contents=["look", image], config=config)

    assert 'I was told: "be brief".' in answer.text
    assert "I see 1 attachment(s)." in answer.text
    counts = {count.modality.value: count.token_count for count in answer.usage_metadata.prompt_tokens_details}
    assert counts["IMAGE"] == 258


def test_a_stream_says_the_same_and_counts_in_every_event(client):
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="hello there"))

    assert "".join(chunk.text or "" for chunk in chunks) == 'You wrote: "hello there".'
    assert all(chunk.usage_metadata.prompt_token_count for chunk in chunks)
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_a_long_stream_loses_and_repeats_nothing(client):
    chunks = client.models.generate_content_stream(model=MODEL, contents="[[events=300]]")

    assert "".join(chunk.text or "" for chunk in chunks).split() == [f"e{n}" for n in range(1, 301)]


def test_closing_a_stream_cancels_the_upstream_call(client, sim):
    stream = client.models.generate_content_stream(model=MODEL, contents="[[events=1000 gap_ms=50]]")
    next(stream)

    with sim.cancels(MODEL):
        stream.close()


@pytest.mark.parametrize("model", [MODEL, SIGNING_MODEL])
def test_python_functions_are_called_in_parallel_and_their_results_come_back(client, model):
    config = types.GenerateContentConfig(tools=[get_weather, get_time])

    answer = client.models.generate_content(
        model=model, contents="please get_weather and get_time", config=config
    )

    assert "sun over a city" in answer.text
    assert "noon in a city" in answer.text
    calls = [part.function_call for part in answer.automatic_function_calling_history[1].parts]
    assert [call.name for call in calls] == ["get_weather", "get_time"]


def test_a_chat_keeps_signatures_through_a_tool_loop(client):
    config = types.GenerateContentConfig(tools=[get_weather])
    chat = client.chats.create(model=SIGNING_MODEL, config=config)

    assert "sun over a city" in chat.send_message("get_weather").text
    assert "This is turn" in chat.send_message("thanks").text


def test_the_mode_any_calls_an_allowed_function(client):
    calling = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["get_time"])
    config = types.GenerateContentConfig(
        tools=[get_weather, get_time],
        tool_config=types.ToolConfig(function_calling_config=calling),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )

    answer = client.models.generate_content(model=MODEL, contents="hello", config=config)

    assert [call.name for call in answer.function_calls] == ["get_time"]


class Forecast(BaseModel):
    city: str
    days: list[int]
    is_sunny: bool


@pytest.mark.parametrize("field", ["response_schema", "response_json_schema"])
def test_structured_output_is_parsed(client, field):
    schema = Forecast if field == "response_schema" else Forecast.model_json_schema()
    config = types.GenerateContentConfig(response_mime_type="application/json", **{field: schema})

    answer = client.models.generate_content(model=MODEL, contents="forecast", config=config)

    parsed = Forecast.model_validate_json(answer.text)
    assert parsed == Forecast(city="a city", days=[1, 1], is_sunny=True)


def test_thoughts_are_parts_of_their_own(client):
    thinking = types.ThinkingConfig(include_thoughts=True)
    config = types.GenerateContentConfig(thinking_config=thinking)

    answer = client.models.generate_content(model=MODEL, contents="hello", config=config)

    parts = answer.candidates[0].content.parts
    assert [bool(part.thought) for part in parts] == [True, False]
    assert answer.text == 'You wrote: "hello".'
    assert answer.usage_metadata.thoughts_token_count > 0


def test_embeddings_have_the_size_asked_for(client):
    config = types.EmbedContentConfig(output_dimensionality=16)

    answer = client.models.embed_content(model=EMBEDDING_MODEL, contents=["a", "b", "a"], config=config)

    values = [embedding.values for embedding in answer.embeddings]
    assert [len(value) for value in values] == [16, 16, 16]
    assert values[0] == values[2] != values[1]


def test_tokens_are_counted(client):
    assert client.models.count_tokens(model=MODEL, contents="12345678").total_tokens == 3


def test_models_are_listed_over_pages_and_found(client):
    names = [model.name for model in client.models.list(config={"page_size": 2})]

    assert f"models/{MODEL}" in names
    assert len(names) == len(set(names))
    assert client.models.get(model=MODEL).input_token_limit == 1_048_576


def test_an_unknown_model_is_a_client_error_404(client):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="gemini-0-nobody", contents="hello")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")


def test_a_bad_request_is_a_client_error_400(client):
    config = types.GenerateContentConfig(presence_penalty=1.0)

    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="hello", config=config)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


def test_a_wrong_token_is_a_client_error():
    with connect("sk-nobody") as client, pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=MODEL, contents="hello")
    # As Google itself answers a wrong key.
    assert caught.value.code == 400
    assert "sk-nobody" not in str(caught.value)


def test_an_error_in_a_stream_is_raised(client):
    with pytest.raises(errors.APIError):
        for _ in client.models.generate_content_stream(model=MODEL, contents="[[events=9 bare_error=3]]"):
            pass


@gateway_only
def test_a_stream_that_breaks_off_ends_with_an_error(client):
    received = []
    with pytest.raises(errors.APIError):
        for chunk in client.models.generate_content_stream(model=MODEL, contents="[[events=9 cut=3]]"):
            received.append(chunk.text or "")
    assert "".join(received).split() == ["e1", "e2", "e3"]


def test_exhausted_keys_are_a_client_error_429(client, sim):
    sim.set_weather({"fault": {"refuse": "bare_limit"}, "model": EXHAUSTED_MODEL})

    with pytest.raises(errors.ClientError) as caught:
        for _ in range(len(sim.keys())):
            client.models.generate_content(model=EXHAUSTED_MODEL, contents="hello")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_a_blocked_prompt_has_feedback(client):
    answer = client.models.generate_content(model=MODEL, contents="[[blocked]]")

    assert answer.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


def test_a_file_is_uploaded_used_listed_and_deleted(client, tmp_path):
    path = tmp_path / "note.txt"
    path.write_bytes(b"hello")
    file = client.files.upload(file=path, config={"display_name": "note"})

    assert file.name.startswith("files/") and file.display_name == "note"
    assert client.files.get(name=file.name).size_bytes == 5
    assert file.name in [listed.name for listed in client.files.list()]
    # More often than there are keys: each time it is the one that has the file.
    for _ in range(12):
        answer = client.models.generate_content(model=MODEL, contents=[file, "What is it?"])
        assert answer.text == 'You wrote: "What is it?". I see 1 attachment(s).'

    client.files.delete(name=file.name)
    assert file.name not in [listed.name for listed in client.files.list()]
    with pytest.raises(errors.ClientError) as raised:
        client.files.get(name=file.name)
    assert raised.value.code in (403, 404)


def test_a_large_file_arrives_in_several_parts(client, tmp_path):
    path = tmp_path / "film.mp4"
    path.write_bytes(bytes(range(256)) * 4096 * 20)

    file = client.files.upload(file=path)

    assert (file.size_bytes, file.mime_type) == (20 << 20, "video/mp4")
    client.files.delete(name=file.name)


def test_files_of_one_request_can_be_used_together(client, tmp_path):
    paths = [tmp_path / f"{number}.txt" for number in range(4)]
    for path in paths:
        path.write_text(path.name)

    files = [client.files.upload(file=path) for path in paths]

    answer = client.models.generate_content(model=MODEL, contents=[*files, "Compare"])
    assert answer.text == 'You wrote: "Compare". I see 4 attachment(s).'


def test_a_cache_is_made_used_extended_and_deleted(client):
    config = types.CreateCachedContentConfig(contents="A long text. " * 2000, ttl="300s", display_name="text")
    cache = client.caches.create(model=MODEL, config=config)

    assert cache.name.startswith("cachedContents/")
    for _ in range(12):
        used = types.GenerateContentConfig(cached_content=cache.name)
        assert client.models.generate_content(model=MODEL, contents="Sum it up", config=used).text
    longer = client.caches.update(name=cache.name, config={"ttl": "600s"})
    assert longer.expire_time > cache.expire_time
    assert cache.name in [listed.name for listed in client.caches.list()]

    client.caches.delete(name=cache.name)
    assert cache.name not in [listed.name for listed in client.caches.list()]
