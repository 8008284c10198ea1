"""Python's clients of other services, pointed at this one. Run: python -m pytest test/python (test/requirements.txt)"""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import langchain_openai
import ollama
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

    def test_should_read_an_answer_that_takes_its_time(self, client: openai.OpenAI) -> None:
        request = {"model": "nano", "prompt": PROMPT, "max_tokens": LONG, "n": 4, "temperature": 0.9, "seed": 1}
        raw = client.completions.with_raw_response.create(**request, extra_body={"reveal_threshold": 1})
        assert len(raw.parse().choices) == 4
        assert raw.text.startswith("  ")

    def test_should_take_many_prompts_choices_and_the_prompt_back(self, client: openai.OpenAI) -> None:
        assert len(client.completions.create(model="nano", prompt=[PROMPT] * 20, max_tokens=2).choices) == 20
        many = client.completions.create(model="nano", prompt=PROMPT, n=32, max_tokens=2, temperature=1, seed=2**63 - 1)
        assert len(many.choices) == 32
        back = client.completions.create(model="nano", prompt=PROMPT, max_tokens=0, echo=True)
        assert (back.choices[0].text, back.choices[0].finish_reason) == (PROMPT, "length")
        assert back.usage.completion_tokens == 0
        assert back.system_fingerprint.startswith("fp_")

    def test_should_not_be_asked_twice_for_a_chat(self, service_url: str) -> None:
        asked = []
        http = httpx.Client(event_hooks={"request": [asked.append]})
        client = openai.OpenAI(base_url=f"{service_url}/v1", api_key="none", http_client=http)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="nano", messages=[{"role": "user", "content": "hi"}])
        assert len(asked) == 1

    def test_should_refuse_what_it_cannot_honour(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            client.completions.create(
                model="nano", prompt=PROMPT, extra_body={"response_format": {"type": "json_object"}}
            )
        assert (raised.value.code, raised.value.param) == ("unsupported_parameter", "response_format")

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
        assert len(self.model(service_url, max_tokens=2).generate([PROMPT] * 20).generations) == 20
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

    def test_should_list_the_models(self, client: Mistral) -> None:
        models = client.models.list().data
        assert [(model.id, model.type) for model in models] == [("nano", "base"), ("small", "base")]
        assert models[0].capabilities.completion_fim
        assert client.models.retrieve(model_id="nano").max_context_length > 0

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


class TestOllama:
    @pytest.fixture
    def client(self, service_url: str) -> ollama.Client:
        return ollama.Client(host=service_url)

    def test_should_learn_at_start_what_the_model_is(self, client: ollama.Client) -> None:
        assert [model.model for model in client.list().models] == ["nano:latest", "small:latest"]
        shown = client.show("nano")
        assert ".Suffix" in shown.template
        assert "insert" in shown.capabilities
        assert [model.context_length for model in client.ps().models] == [shown.modelinfo["quicksilver.context_length"]]

    def test_should_generate_within_its_limits(self, client: ollama.Client) -> None:
        answer = client.generate("nano", PROMPT, suffix=SUFFIX, options={"num_predict": 4, "temperature": 3.0})
        assert answer.eval_count <= 4

    def test_should_raise_for_good_where_the_model_cannot(self, client: ollama.Client) -> None:
        for ask in (
            lambda: client.chat("nano", [{"role": "user", "content": "hi"}]),
            lambda: client.embed("nano", "hi"),
        ):
            with pytest.raises(ollama.ResponseError) as raised:
                ask()
            assert raised.value.status_code == 400


def test_curl_as_ollama_documents_it_should_work(service_url: str) -> None:
    body = '{"model": "nano", "prompt": "a = ", "stream": false, "options": {"num_predict": 4}}'
    command = ["curl", "-s", f"{service_url}/api/generate", "-d", body]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert answer["done"]
    refused = subprocess.run(
        [*command, "-H", "Origin: https://page.example"], capture_output=True, text=True, check=True
    )
    assert "error" in json.loads(refused.stdout)


class TestLiteLLM:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")

    def test_should_reach_each_dialect(self, service_url: str) -> None:
        import litellm

        key = {"api_key": "none", "max_tokens": 4, "num_retries": 0}
        message = [{"role": "user", "content": PROMPT}]
        generated = litellm.completion("ollama/nano", message, api_base=service_url, **key)
        assert isinstance(generated.choices[0].message.content, str)
        routes = {"text-completion-openai/nano": "/v1", "text-completion-codestral/nano": "/v1/fim/completions"}
        for model, path in routes.items():
            answer = litellm.text_completion(
                model=model, prompt=PROMPT, suffix=SUFFIX, api_base=service_url + path, **key
            )
            assert isinstance(answer.choices[0].text, str)
        with pytest.raises(litellm.BadRequestError):
            litellm.completion("ollama_chat/nano", message, api_base=service_url, **key)


def test_the_example_should_run(service_url: str) -> None:
    environment = {**os.environ, "QUICKSILVER_URL": service_url}
    command = [sys.executable, "examples/complete.py"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["completion", "stream", "error"]
    assert "model_not_found" in lines[2]
