"""A backend for tests that answers with status 200 and does what the model in the request says, however bad."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

USAGE = {"prompt_tokens": 30, "completion_tokens": 2, "total_tokens": 32}
DONE = "data: [DONE]\n\n"
PING = ": ping - 2026-11-28 12:00:00.000000\r\n\r\n"


def event(data: object) -> str:
    return f"data: {json.dumps(data)}\n\n"


def choice(text: str | None, finish_reason: str | None, index: int = 0, *, is_chat: bool, is_chunk: bool) -> object:
    part = (
        {"delta" if is_chunk else "message": {"role": "assistant", "content": text}}
        if is_chat
        else {"text": text or ""}
    )
    return {"index": index, "finish_reason": finish_reason, "logprobs": None, **part}


def body(kind: str, choices: list[object]) -> dict[str, object]:
    return {"id": "c", "object": kind, "created": 1, "model": "m", "choices": choices}


def events_of(model: str, is_chat: bool) -> list[str]:
    """The events of a stream, by the name of its model."""
    kind = "chat.completion.chunk" if is_chat else "text_completion"
    texts = [event(body(kind, [choice(text, None, is_chat=is_chat, is_chunk=True)])) for text in ("hel", "lo")]
    stop = event(body(kind, [choice(None, "stop", is_chat=is_chat, is_chunk=True)]))
    return {
        "whole": [*texts, stop, DONE],
        "no-blank-line": [*texts, stop, "data: [DONE]\n"],
        "no-done": [*texts, stop],
        "cut": texts,
        "fails-at-once": [event({"error": {"message": "died", "code": 500}}), DONE],
        "fails-later": [texts[0], event({"error": {"message": "died", "code": 500}}), DONE],
        "pings": [PING, PING],
    }[model]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_chat = "messages" in request
        if request.get("stream"):
            return self.stream(events_of(request["model"], is_chat))
        if request["model"] == "fails-at-once":
            return self.send(json.dumps({"error": {"message": "died", "code": 504}}))
        prompts = request.get("prompt")
        count = len(prompts) if isinstance(prompts, list) else 1
        choices = [choice("hello", "stop", index, is_chat=is_chat, is_chunk=False) for index in range(count)]
        kind = "chat.completion" if is_chat else "text_completion"
        return self.send(json.dumps({**body(kind, choices), "usage": USAGE}))

    def send(self, text: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def stream(self, events: list[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for text in events:
            self.wfile.write(text.encode())
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """The base URL of the backend."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
