"""llama.cpp with one thread, for bench/peers: commands as JSON lines in, CPU time and tokens as JSON lines out.

    python bench/peers/llama-cpp/peer.py build/gguf/small.gguf

A command is a completion: `tokens`, or `prefix` and `suffix` as text, put together as llama.cpp's `/infill` does, the
suffix behind the prefix unless `suffixFirst`. `cache` names one of the contexts, each of which keeps what it has read;
`cold` empties it. `maxTokens` tokens are decoded greedily, to the end of the text unless `ignoreEnd`; 0 reads only.
The time is that of this process, user and system, from the text to the last token.
"""

import ctypes
import json
import sys
import time

import llama_cpp as llama
import numpy as np

CONTEXT_TOKENS = 2048  # of the model
EVERY_TOKEN = 2048  # a batch has a whole prompt; llama.cpp splits it into its own parts of 512
WEIGHTS_KEY = b"quicksilver.weights_sha256"  # training/export/prefix_gguf.py

Command = dict[str, object]


class Context:
    """A KV cache and the tokens in it."""

    def __init__(self, model: object):
        parameters = llama.llama_context_default_params()
        parameters.n_ctx = CONTEXT_TOKENS
        parameters.n_batch = EVERY_TOKEN
        parameters.n_threads = parameters.n_threads_batch = 1
        self.handle = llama.llama_init_from_model(model, parameters)
        self.held: list[int] = []

    def keep(self, count: int) -> None:
        """Forgets all tokens but the first `count`."""
        llama.llama_memory_seq_rm(llama.llama_get_memory(self.handle), 0, count, -1)
        del self.held[count:]

    def read(self, tokens: list[int]) -> None:
        """Appends tokens; the logits are those of the last one. Raises RuntimeError."""
        batch = (llama.llama_token * len(tokens))(*tokens)
        status = llama.llama_decode(self.handle, llama.llama_batch_get_one(batch, len(tokens)))
        if status != 0:
            raise RuntimeError(f"llama_decode gave {status} for {len(tokens)} tokens after {len(self.held)}")
        self.held += tokens

    def best(self, vocabulary_size: int) -> int:
        logits = llama.llama_get_logits_ith(self.handle, -1)
        return int(np.ctypeslib.as_array(logits, (vocabulary_size,)).argmax())


class Peer:
    def __init__(self, path: str):
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocabulary = llama.llama_model_get_vocab(self.model)
        self.size = llama.llama_vocab_n_tokens(self.vocabulary)
        self.contexts: dict[object, Context] = {}
        self.prefix, self.suffix, self.middle = (
            self.tokens(marker, special=True) for marker in ("<|prefix|>", "<|suffix|>", "<|eom|>")
        )

    def about(self) -> Command:
        digest = ctypes.create_string_buffer(128)
        llama.llama_model_meta_val_str(self.model, WEIGHTS_KEY, digest, len(digest))
        return {
            "version": llama.__version__,
            "system": llama.llama_print_system_info().decode().strip(),
            "weights": digest.value.decode(),
        }

    def tokens(self, text: str, special: bool = False) -> list[int]:
        content = text.encode()
        found = (llama.llama_token * (len(content) + 1))()
        count = llama.llama_tokenize(self.vocabulary, content, len(content), found, len(found), False, special)
        return found[:count]

    def text(self, tokens: list[int]) -> str:
        piece = ctypes.create_string_buffer(256)
        counts = (llama.llama_token_to_piece(self.vocabulary, each, piece, len(piece), 0, False) for each in tokens)
        return b"".join(piece.raw[:count] for count in counts).decode(errors="replace")

    def prompt(self, command: Command) -> list[int]:
        if "tokens" in command:
            return list(command["tokens"])
        prefix, suffix = self.tokens(command["prefix"]), self.tokens(command["suffix"])
        if command.get("suffixFirst"):
            return [*self.suffix, *suffix, *self.prefix, *prefix]
        return [*self.prefix, *prefix, *self.suffix, *suffix, *self.middle]

    def complete(self, command: Command) -> Command:
        name = command["cache"]
        if name not in self.contexts:
            self.contexts[name] = Context(self.model)
        context = self.contexts[name]
        if command.get("cold"):
            context.keep(0)
        start = time.process_time_ns()
        prompt = self.prompt(command)
        # The last token is always computed: its logits are the first new token.
        limit = min(len(context.held), len(prompt) - 1)
        known = next((at for at in range(limit) if context.held[at] != prompt[at]), limit)
        context.keep(known)
        context.read(prompt[known:])
        written: list[int] = []
        while len(written) < command["maxTokens"]:
            token = context.best(self.size)
            if not command.get("ignoreEnd") and llama.llama_vocab_is_eog(self.vocabulary, token):
                break
            written.append(token)
            if len(written) < command["maxTokens"]:
                context.read([token])
        text = self.text(written)
        ms = (time.process_time_ns() - start) / 1e6
        return {"ms": ms, "read": len(prompt) - known, "tokens": written, "text": text}


@llama.llama_log_callback
def no_log(_level, _text, _data):
    """llama.cpp writes its log to the standard error stream."""


def main() -> None:
    llama.llama_log_set(no_log, ctypes.c_void_p(0))
    peer = Peer(sys.argv[1])
    print(json.dumps(peer.about()), flush=True)
    for line in sys.stdin:
        print(json.dumps(peer.complete(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
