"""
A real engine behind the service: `transformers serve`, asked through the self-hosted worker by OpenAI's client.
Run: python -m pytest test/python/test_engine.py (test/requirements.txt, training/requirements.txt and torch)
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import httpx
import openai
import pytest
import tiny_engine
from conftest import free_port, self_hosted

MESSAGES = [{"role": "user", "content": "Say something."}]
CHAT = {"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "temperature": 0}

# More than the local model's context, which has a few hundred tokens.
LONG_PROMPT = "let value = compute(value);\n" * 200


class HasHeaders(Protocol):
    headers: Mapping[str, str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "tiny"
    tiny_engine.make_model(folder)
    return folder


@pytest.fixture(scope="module")
def engine(model: Path) -> Iterator[str]:
    with tiny_engine.serving(model, free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def service(worker_bundle: None, engine: str, model: Path) -> Iterator[str]:
    # It writes the suffix after its completion.
    backends = {"engine": {"base_url": engine, "aliases": {"tiny": str(model)}, "default": True, "infill": False}}
    with self_hosted({"BACKENDS": json.dumps(backends), "MODEL": "nano"}) as url:
        yield url


def route_of(response: HasHeaders) -> tuple[str, str]:
    return response.headers["x-quicksilver-backend"], response.headers["x-quicksilver-route"]


def test_should_answer_a_chat_as_the_engine_does_and_say_who_did(
    client: openai.OpenAI, direct: openai.OpenAI, model: Path
) -> None:
    response = client.chat.completions.with_raw_response.create(**CHAT)
    expected = direct.chat.completions.create(**{**CHAT, "model": str(model)})
    answer = response.parse()
    assert answer.choices[0].message.content == expected.choices[0].message.content
    assert answer.usage == expected.usage
    assert route_of(response) == ("engine", "model")


def test_should_stream_what_it_answers_whole(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(**CHAT).choices[0]
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**CHAT, stream=True) if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in chunks) == whole.message.content
    assert chunks[-1].finish_reason == whole.finish_reason


def test_should_complete_prompts_of_the_model_by_its_name(
    client: openai.OpenAI, direct: openai.OpenAI, model: Path
) -> None:
    request = {"prompt": "def add(a, b):", "max_tokens": 8, "temperature": 0}
    response = client.completions.with_raw_response.create(model="tiny", **request)
    expected = direct.completions.create(model=str(model), **request)
    assert response.parse().choices[0].text == expected.choices[0].text
    assert route_of(response) == ("engine", "model")
    assert "tiny" in [entry.id for entry in client.models.list()]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"prompt": LONG_PROMPT, "max_tokens": 4}, "escalated-context"),
        ({"prompt": "let a = ", "max_tokens": 1_000}, "escalated-length"),
    ],
)
def test_should_be_asked_for_what_the_local_model_cannot_do(
    client: openai.OpenAI, request_: dict[str, object], reason: str
) -> None:
    response = client.completions.with_raw_response.create(model="auto", **request_)
    assert route_of(response) == ("engine", reason)
    assert response.parse().usage.completion_tokens > 0


def test_should_not_be_asked_for_what_it_cannot_do(client: openai.OpenAI) -> None:
    request = {"prompt": LONG_PROMPT, "suffix": "\nprint(value)\n", "max_tokens": 4}
    response = client.completions.with_raw_response.create(model="auto", **request)
    assert route_of(response) == ("local", "auto")
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="tiny", **request)
    assert raised.value.param == "suffix"


def test_should_have_a_stream_without_done_accepted_as_complete(engine: str, service: str, model: Path) -> None:
    request = {**CHAT, "stream": True}
    with httpx.Client(timeout=60) as http:
        direct = http.post(f"{engine}/chat/completions", json={**request, "model": str(model)}).text
        passed_on = http.post(f"{service}/v1/chat/completions", json=request).text
    assert "[DONE]" not in direct
    assert '"error"' not in passed_on
    assert passed_on.count("data: ") == direct.count("data: ")


def test_should_leave_to_the_local_model_what_has_its_name(client: openai.OpenAI) -> None:
    response = client.completions.with_raw_response.create(model="nano", prompt="let a = ", max_tokens=4)
    assert route_of(response) == ("local", "model")


def test_should_be_cancelled_when_a_client_leaves(client: openai.OpenAI) -> None:
    with client.chat.completions.create(**{**CHAT, "max_tokens": 2_000}, stream=True) as stream:
        next(iter(stream))
    assert client.chat.completions.create(**CHAT).choices[0].message.content


def test_should_have_its_failure_reported_without_its_message(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        # The engine answers 500 to a chat without messages.
        client.post("/chat/completions", cast_to=object, body={"model": "tiny"})
    assert (raised.value.status_code, raised.value.code) == (502, "backend_error")
    assert raised.value.message.endswith("The backend 'engine' failed with status 500.")
