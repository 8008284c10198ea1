"""Backends that fail with status 200, behind the self-hosted worker, with Python's clients.
Run: python -m pytest test/python/test_gateway.py (test/requirements.txt)"""

import json
from collections.abc import Iterator

import langchain_openai
import odd_backend
import openai
import pytest
from conftest import self_hosted
from mistralai.client import Mistral

MESSAGES = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def service(worker_bundle: None) -> Iterator[str]:
    with odd_backend.serving() as url:
        odd = {"base_url": url, "models": ["*"], "fallback": ["spare"], "retries": 0, "breaker_failures": 99}
        backends = {"odd": odd, "spare": {"base_url": url, "models": ["whole"]}}
        with self_hosted({"BACKENDS": json.dumps(backends)}) as service:
            yield service


def streamed(client: openai.OpenAI, model: str) -> tuple[str, str | None]:
    chunks = list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks), chunks[-1].choices[0].finish_reason


@pytest.mark.parametrize("model", ["whole", "no-blank-line", "no-done"])
def test_should_accept_a_stream_that_reported_its_end_as_complete(client: openai.OpenAI, model: str) -> None:
    assert streamed(client, model) == ("hello", "stop")


@pytest.mark.parametrize("model", ["cut", "fails-later"])
def test_should_raise_an_error_for_half_a_text(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.APIError):
        streamed(client, model)


@pytest.mark.parametrize("model", ["fails-at-once", "pings"])
def test_should_be_answered_by_the_fallback_before_the_first_text(client: openai.OpenAI, model: str) -> None:
    assert streamed(client, model) == ("hello", "stop")


def test_should_be_answered_by_the_fallback_when_a_whole_answer_is_an_error(client: openai.OpenAI) -> None:
    response = client.chat.completions.with_raw_response.create(model="fails-at-once", messages=MESSAGES)
    assert response.parse().choices[0].message.content == "hello"
    assert response.headers["x-quicksilver-route"] == "model; fallback-from=odd"


def test_should_fill_in_the_middle_for_the_client_of_mistral(service: str) -> None:
    mistral = Mistral(server_url=service, api_key="none")
    request = {"model": "whole", "prompt": "hel", "suffix": "!"}
    assert mistral.fim.complete(**request).choices[0].message.content == "hello"
    chunks = [event.data.choices[0].delta.content for event in mistral.fim.stream(**request)]
    assert "".join(chunks) == "hello"


def test_should_complete_as_many_prompts_as_langchain_sends_at_once(service: str) -> None:
    model = langchain_openai.OpenAI(base_url=f"{service}/v1", api_key="none", model="whole", max_retries=0)
    result = model.generate([f"prompt {number}" for number in range(20)])
    assert [generations[0].text for generations in result.generations] == ["hello"] * 20
    assert result.llm_output["token_usage"]["completion_tokens"] == 2
