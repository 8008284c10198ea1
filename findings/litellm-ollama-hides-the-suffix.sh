#!/bin/sh
# LiteLLM 1.110.2: `text_completion(model="ollama/…", suffix=…)` sends the suffix inside Ollama's `options`.
#
# Ollama's POST /api/generate has `suffix` beside `prompt` (https://github.com/ollama/ollama/blob/main/docs/api.md) and
# ignores options
# that it does not know. So a fill-in-the-middle request through this route becomes a plain continuation, without an
# error. The routes
# `text-completion-openai/` and `text-completion-codestral/` send it where it counts.
#
# Seen: {"model": "m", "prompt": "a", "options": {"suffix": "b"}, "stream": false}
# Exits with 1 when the suffix arrives beside the prompt, or not at all.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check litellm==1.110.2
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" - <<'PYTHON'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

bodies = []


class Ollama(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/api/generate":
            bodies.append(body)
        answer = json.dumps({"model": "m", "response": "x", "done": True, "prompt_eval_count": 1, "eval_count": 1}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Ollama)
threading.Thread(target=server.serve_forever, daemon=True).start()

import litellm  # noqa: E402

litellm.suppress_debug_info = True
base = f"http://127.0.0.1:{server.server_port}"
litellm.text_completion(model="ollama/m", prompt="a", suffix="b", api_base=base, num_retries=0)
print(json.dumps(bodies[0]))
hidden = "suffix" not in bodies[0] and bodies[0]["options"].get("suffix") == "b"
sys.exit(0 if hidden else "LiteLLM sends the suffix in another place now")
PYTHON
