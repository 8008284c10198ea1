"""
llama-cpp-python's server behind the self-hosted worker, asked by OpenAI's client. Left out unless it is compiled, see llama_cpp_engine.py.
Run: LLAMA_CPP=build python -m pytest test/python/test_llama_cpp.py (test/requirements.txt, training/requirements.txt and torch)
"""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import llama_cpp_engine
import openai
import pytest
from conftest import NO_MODEL_YET, ROOT, free_port, self_hosted

from training.export.prefix_gguf import write_prefix_gguf

PROMPT = "def add(a, b):\n    return "
SUFFIX = "\n\n\nprint(add(1, 2))\n"
MESSAGES = [{"role": "user", "content": "Say something."}]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if NO_MODEL_YET:
        pytest.skip("there is no model yet")
    if reason := llama_cpp_engine.install():
        pytest.skip(reason)
    gguf = tmp_path_factory.mktemp("gguf") / "small.gguf"
    write_prefix_gguf(ROOT / "models/small", Path(gguf))
    with llama_cpp_engine.serving(gguf, free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def service(engine: str, worker_bundle: None) -> Iterator[str]:
    engines = {
        # It puts token 0 in place of the markers, whatever the model has, and does so for an empty suffix too.
        "llama": {"base_url": engine, "models": ["small-gguf"], "default": True, "infill": False},
    }
    with self_hosted({"BACKENDS": json.dumps(engines), "MODEL": "nano"}) as url:
        yield url


def test_should_complete_as_the_engine_does_and_say_who_did(client: openai.OpenAI, direct: openai.OpenAI) -> None:
    request = {"model": "small-gguf", "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    response = client.completions.with_raw_response.create(**request)
    expected = direct.completions.create(**request)
    answer = response.parse()
    assert answer.choices[0].text == expected.choices[0].text != ""
    assert answer.usage == expected.usage
    assert response.headers["x-quicksilver-backend"] == "llama"


def test_should_stream_what_it_answers_whole(client: openai.OpenAI) -> None:
    request = {"model": "small-gguf", "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    whole = client.completions.create(**request).choices[0]
    chunks = [chunk.choices[0] for chunk in client.completions.create(**request, stream=True) if chunk.choices]
    assert "".join(choice.text for choice in chunks) == whole.text
    assert chunks[-1].finish_reason == whole.finish_reason


def test_should_answer_a_chat_whole_and_in_a_stream(client: openai.OpenAI) -> None:
    request = {"model": "small-gguf", "messages": MESSAGES, "max_tokens": 8, "temperature": 0}
    whole = client.chat.completions.create(**request).choices[0]
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**request, stream=True) if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in chunks) == whole.message.content
    assert chunks[-1].finish_reason == whole.finish_reason


def test_should_be_limited_under_the_names_of_other_dialects(client: openai.OpenAI) -> None:
    request = {"model": "small-gguf", "prompt": PROMPT, "temperature": 0, "extra_body": {"n_predict": 3}}
    assert client.completions.create(**request).usage.completion_tokens <= 3


def test_should_not_be_asked_to_fill_in_the_middle(client: openai.OpenAI) -> None:
    request = {"prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 8, "temperature": 0}
    response = client.completions.with_raw_response.create(model="auto", **request)
    assert response.headers["x-quicksilver-backend"] == "local"
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="small-gguf", **request)
    assert raised.value.param == "suffix"


def test_should_not_get_an_empty_suffix(client: openai.OpenAI, direct: openai.OpenAI) -> None:
    request = {"model": "small-gguf", "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    expected = direct.completions.create(**request)
    answer = client.completions.create(**request, suffix="")
    assert answer.choices[0].text == expected.choices[0].text
    assert answer.usage.prompt_tokens == expected.usage.prompt_tokens
    # The reason for it: three more tokens, which are no markers.
    assert direct.completions.create(**request, suffix="").usage.prompt_tokens == expected.usage.prompt_tokens + 3


def test_should_have_a_refusal_of_the_engine_raised_with_its_reason(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(model="small-gguf", prompt="let value = 1;\n" * 400, max_tokens=4)
    assert raised.value.code == "context_length_exceeded"


def test_should_be_cancelled_when_a_client_leaves(client: openai.OpenAI) -> None:
    request = {"model": "small-gguf", "prompt": PROMPT, "temperature": 0}
    with client.completions.create(**request, max_tokens=400, stream=True) as stream:
        next(iter(stream))
    assert client.completions.create(**request, max_tokens=4).usage.completion_tokens > 0


def test_should_have_its_stream_passed_on_with_every_byte(engine: str, service: str) -> None:
    request = {"model": "small-gguf", "prompt": PROMPT, "max_tokens": 4, "temperature": 0, "stream": True}
    with httpx.Client(timeout=60) as http:
        direct = http.post(f"{engine}/completions", json=request).text
        passed_on = http.post(f"{service}/v1/completions", json=request).text
    assert "data: [DONE]" in direct
    assert '"error"' not in passed_on
    assert passed_on.count("data: ") == direct.count("data: ")
