"""Completions through OpenAI's client. See README.md beside this file."""

import os

from openai import NotFoundError, OpenAI

client = OpenAI(
    base_url=os.environ.get("QUICKSILVER_URL", "http://127.0.0.1:8787") + "/v1",
    api_key=os.environ.get("QUICKSILVER_KEY", "none"),
)

# Text between prompt and suffix. `editor`, which is not in OpenAI's API, returns only what an editor can show.
completion = client.completions.create(
    model="small",
    prompt="/** Adds numbers. */\nfunction sum(numbers) {\n  let total = 0;\n  for (let i = 0; i < numbers.",
    suffix="; i++) {\n    total += numbers[i];\n  }\n  return total;\n}\n",
    extra_body={"editor": True},
)
print("completion:", repr(completion.choices[0].text), "tokens:", completion.usage.completion_tokens)

# Streamed until there is enough text: closing the stream also stops the model.
text = ""
with client.completions.create(
    model="small",
    prompt="function clamp(value, min, max) {\n  if (value < min) return min;\n  if (value > max) return ",
    suffix=";\n  return value;\n}\n",
    stream=True,
    extra_body={"editor": True},
) as stream:
    for chunk in stream:
        text += chunk.choices[0].text
        if len(text) > 80:
            break
print("stream:", repr(text))

try:
    client.completions.create(model="unknown", prompt="a")
except NotFoundError as error:
    print("error:", error.code, error.message)
