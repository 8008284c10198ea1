"""What schemathesis cannot know of this service, loaded by it by the variable SCHEMATHESIS_HOOKS.

Which requests get an answer: those to the model, about its tokens, with something to complete. And how a stream of lines is described:
by the schema of what a line holds as JSON.
"""

import json

import jsonschema_rs
import schemathesis

MODEL = "nano"

# The model's special tokens come first, then 4,090 tokens of text.
FIRST_TEXT_TOKEN = 6
TEXT_TOKENS = 4090

# The widest; others depend on the model.
CANVAS_WIDTH = 32

# Fields that bound a completion, with the default that is often spelled out. It is shapes that are looked at here, not
# texts.
BOUNDS = {
    "/v1/completions": "max_tokens",
    "/beta/completions": "max_tokens",
    "/v1/fim/completions": "max_tokens",
    "/infill": "n_predict",
    "/completion": "n_predict",
    "/completions": "n_predict",
}
DEFAULT_TOKENS = 64
FEW_TOKENS = 4


@schemathesis.hook
def before_call(context, case, **_) -> None:
    """Changes of a request what would only have it refused, time after time for one reason."""
    body = case.body
    if not isinstance(body, dict):
        return
    if isinstance(body.get("model"), str):
        body["model"] = MODEL
    if body.get("prompt") == "" and not body.get("suffix"):
        body["prompt"] = "const a = "
    if isinstance(body.get("prompt"), list):
        body["prompt"] = text_tokens(body["prompt"])
    if isinstance(body.get("logit_bias"), dict):
        biases = body["logit_bias"].items()
        body["logit_bias"] = {str(text_tokens(int(id))) if id.isdecimal() else id: bias for id, bias in biases}
    drop_contradictions(body)
    bound = BOUNDS.get(case.operation.path)
    if bound is not None and body.get(bound, DEFAULT_TOKENS) == DEFAULT_TOKENS:
        body[bound] = FEW_TOKENS


def drop_contradictions(body: dict) -> None:
    """Leaves out fields that others of the same request rule out, which a schema does not tell."""
    if body.get("diffusing") in (True, "canvas"):
        body["stream"] = True
    dropped = []
    if body.get("decoding") == "autoregressive":
        dropped += ["suffix", "reveal_threshold", "edit_threshold", "canvas_width", "freeze_after"]
    if body.get("editor") is not True:
        dropped += ["min_confidence"]
    if body.get("stream") is True:
        dropped += ["logprobs", "best_of"]
    if body.get("echo") is True:
        dropped += ["logprobs"]
    for field in dropped:
        body.pop(field, None)
    if "canvas_width" in body:
        body["canvas_width"] = CANVAS_WIDTH


def text_tokens(ids: object) -> object:
    """The same with other numbers: whole ones that are not negative become ids of text."""
    if isinstance(ids, list):
        return [text_tokens(id) for id in ids]
    is_id = isinstance(ids, int) and not isinstance(ids, bool) and ids >= 0
    return FIRST_TEXT_TOKEN + ids % TEXT_TOKENS if is_id else ids


@schemathesis.check
def lines_conformance(context, response, case) -> None:
    """Every line of a stream of lines is as described. Of events, schemathesis looks after itself."""
    media_type = "application/x-ndjson"
    if response.status_code != 200 or not response.headers.get("content-type", [""])[0].startswith(media_type):
        return
    description = case.operation.schema.raw_schema
    responses = description["paths"][case.operation.path][case.operation.method]["responses"]
    line = responses["200"]["content"][media_type]["schema"]["contentSchema"]
    validator = jsonschema_rs.validator_for({**line, "components": description["components"]})
    lines = response.content.decode().split("\n")
    assert lines.pop() == "", "the stream does not end with a whole line"
    for text in lines:
        error = next(validator.iter_errors(json.loads(text)), None)
        assert error is None, f"a line is not as described: {text}: {error}"
