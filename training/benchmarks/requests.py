"""Requests the completions of problems from a running service with OpenAI's client."""

from dataclasses import asdict, dataclass

import openai

from training.benchmarks.problems import Problem

MAX_RETRIES = 6  # of a request: waits double from half a second to 8, or are those of the service; half a minute in all
TIMEOUT_SECONDS = 300.0
OUR_FIELDS = ("max_steps", "reveal_threshold", "edit_threshold")  # which other services do not know


@dataclass(frozen=True)
class Decoding:
    """The decoding settings of every request. None: the default of the service."""

    model: str
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    max_steps: int | None = None
    reveal_threshold: float | None = None
    edit_threshold: float | None = None


@dataclass(frozen=True)
class Answer:
    """cost: completion_tokens, and steps and slot_evaluations if the service reports them."""

    text: str
    finish_reason: str
    cost: dict[str, int]


class Service:
    """A service at `url`, such as http://127.0.0.1:8787/v1. Thread-safe."""

    def __init__(self, url: str, api_key: str, decoding: Decoding):
        self.decoding = decoding
        self.client = openai.OpenAI(
            base_url=url, api_key=api_key, max_retries=MAX_RETRIES, timeout=TIMEOUT_SECONDS
        )  # fmt: skip

    def complete(self, problem: Problem, sample: int) -> Answer:
        """One completion; each sample has its own seed. Raises openai.OpenAIError if all tries fail."""
        fields = {name: value for name, value in asdict(self.decoding).items() if value is not None}
        ours = {name: fields.pop(name) for name in OUR_FIELDS if name in fields}
        fields["seed"] += sample
        completion = self.client.completions.create(
            prompt=problem.prefix, suffix=problem.suffix, **fields, extra_body=ours
        )
        choice, usage = completion.choices[0], completion.usage
        said = (usage.model_extra or {}).get("quicksilver", {}) if usage else {}
        cost = {name: said[name] for name in ("steps", "slot_evaluations") if name in said}
        if usage:
            cost["completion_tokens"] = usage.completion_tokens
        return Answer(choice.text, choice.finish_reason or "", cost)
