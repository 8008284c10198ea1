#!/usr/bin/env bash
# langchain-openai, `OpenAI(…).batch(prompts)`: prompts are put into one request as a list, 20 at a time (`batch_size`),
# and the requests are sent one after the other. `max_concurrency` is meant to bound how many calls run at once; here it
# is the length of the lists: with 4, eight prompts become two requests of four, never two at the same time. A server
# that reads one prompt a request, or refuses one of a list, fails for all of that list.
#
# Versions  langchain-openai 1.7.3, langchain-core 1.8.3
# Source    https://reference.langchain.com/python/langchain_core/runnables/#langchain_core.runnables.base.Runnable.batch
#           ("runs invoke in parallel"), RunnableConfig.max_concurrency ("maximum number of parallel calls");
#           langchain_core/language_models/llms.py
# Seen      8 prompts, no max_concurrency: requests of [8] prompts, at most 1 at once
#           8 prompts, max_concurrency 4: requests of [4, 4] prompts, at most 1 at once
#           3 prompts, max_concurrency 1: requests of [1, 1, 1] prompts, at most 1 at once
#           25 prompts, no max_concurrency: requests of [20, 5] prompts, at most 1 at once
# Exits with 1 when the requests are others, or overlap.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check langchain-openai==1.7.3 langchain-core==1.8.3
"$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()
sizes = []
running = most = 0


class Completions(BaseHTTPRequestHandler):
    def do_POST(self):
        global running, most
        prompts = json.loads(self.rfile.read(int(self.headers["content-length"])))["prompt"]
        with lock:
            sizes.append(len(prompts))
            running += 1
            most = max(most, running)
        time.sleep(0.5)  # Long enough for calls in parallel to meet.
        with lock:
            running -= 1
        choices = [
            {"index": i, "text": p, "logprobs": None, "finish_reason": "stop"} for i, p in enumerate(prompts)
        ]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "c", "object": "text_completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Completions)
threading.Thread(target=server.serve_forever, daemon=True).start()

from langchain_openai import OpenAI  # noqa: E402

llm = OpenAI(model="m", api_key="none", base_url=f"http://127.0.0.1:{server.server_port}/v1", max_retries=0)
for count, bound, expected in ((8, None, [8]), (8, 4, [4, 4]), (3, 1, [1, 1, 1]), (25, None, [20, 5])):
    sizes.clear()
    most = 0
    prompts = [f"p{i}" for i in range(count)]
    texts = llm.batch(prompts, config={"max_concurrency": bound} if bound else None)
    told = f"max_concurrency {bound}" if bound else "no max_concurrency"
    print(f"{count} prompts, {told}: requests of {sizes} prompts, at most {most} at once")
    if texts != prompts or sizes != expected or most != 1:
        sys.exit("LangChain sends other requests now")
PYTHON
