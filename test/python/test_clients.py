"""Python's clients of other services, pointed at this one. Run: python -m pytest test/python (test/requirements.txt)"""

import os
import subprocess
import sys
from pathlib import Path

import langchain_openai
import openai
import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

ROOT = Path(__file__).parents[2]
PROMPT = "def add(a, b):\n    return "
SUFFIX = "\n\nprint(add(1, 2))\n"

# Long enough that a client can leave before the end.
LONG = 256


class TestOpenAI:
    @pytest.fixture
    def client(self, service_url: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{service_url}/v1", api_key="none", max_retries=0)

    def test_should_stream_what_it_answers_whole(self, client: openai.OpenAI) -> None:
        request = {"model": "nano", "prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 16}
        whole = client.completions.create(**request)
        assert whole.choices[0].finish_reason in ("stop", "length")
        assert whole.usage.prompt_tokens > 0
        chunks = list(client.completions.create(**request, stream=True, stream_options={"include_usage": True}))
        assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens

    def test_should_answer_on_after_a_stream_was_left(self, client: openai.OpenAI) -> None:
        with client.completions.create(model="nano", prompt=PROMPT, max_tokens=LONG, stream=True) as stream:
            next(iter(stream))
        assert len(client.completions.create(model="nano", prompt=PROMPT, max_tokens=4).choices) == 1

    def test_should_raise_the_error_of_the_client(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.NotFoundError) as raised:
            client.completions.create(model="gpt-4", prompt=PROMPT)
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


class TestLangChain:
    @staticmethod
    def model(service_url: str, name: str = "nano", **options: object) -> langchain_openai.OpenAI:
        base = {"base_url": f"{service_url}/v1", "api_key": "none", "max_retries": 0, "temperature": 0}
        return langchain_openai.OpenAI(model=name, **base, **options)

    def test_should_stream_what_it_answers_whole(self, service_url: str) -> None:
        model = self.model(service_url, max_tokens=16)
        assert "".join(model.stream(PROMPT)) == model.invoke(PROMPT)

    def test_should_complete_several_prompts(self, service_url: str) -> None:
        result = self.model(service_url, max_tokens=8, n=2, best_of=2).generate([PROMPT, "import "])
        assert [len(generations) for generations in result.generations] == [2, 2]
        assert result.llm_output["token_usage"]["completion_tokens"] > 0

    def test_should_answer_on_after_a_stream_was_left(self, service_url: str) -> None:
        stream = self.model(service_url, max_tokens=LONG).stream(PROMPT)
        next(stream)
        stream.close()
        assert isinstance(self.model(service_url, max_tokens=4).invoke(PROMPT), str)

    def test_should_raise_the_error_of_the_client(self, service_url: str) -> None:
        with pytest.raises(openai.NotFoundError):
            self.model(service_url, "gpt-4").invoke(PROMPT)


class TestMistral:
    @pytest.fixture
    def client(self, service_url: str) -> Mistral:
        return Mistral(server_url=service_url, api_key="none")

    def test_should_stream_what_it_answers_whole(self, client: Mistral) -> None:
        request = {"model": "nano", "prompt": PROMPT, "suffix": SUFFIX, "max_tokens": 16}
        whole = client.fim.complete(**request)
        assert whole.choices[0].finish_reason in ("stop", "length")
        with client.fim.stream(**request) as stream:
            pieces = [event.data.choices[0].delta.content for event in stream]
        assert "".join(pieces) == whole.choices[0].message.content

    def test_should_answer_on_after_a_stream_was_left(self, client: Mistral) -> None:
        with client.fim.stream(model="nano", prompt=PROMPT, max_tokens=LONG) as stream:
            next(iter(stream))
        assert len(client.fim.complete(model="nano", prompt=PROMPT, max_tokens=4).choices) == 1

    def test_should_raise_the_error_of_the_client(self, client: Mistral) -> None:
        with pytest.raises(SDKError) as raised:
            client.fim.complete(model="codestral", prompt=PROMPT)
        assert raised.value.status_code == 404


def test_the_example_should_run(service_url: str) -> None:
    environment = {**os.environ, "QUICKSILVER_URL": service_url}
    command = [sys.executable, "examples/complete.py"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["completion", "stream", "error"]
    assert "model_not_found" in lines[2]
