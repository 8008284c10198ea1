"""Trains the tokenizer: byte-level BPE in the Hugging Face tokenizers format.

    python -m training.model.tokenizer --vocab 4096 --out models/nano/tokenizer.json
    python -m training.model.tokenizer --vocab 8192 --out training/.data/tokenizer-8192.json
    python -m training.model.tokenizer --evaluate models/nano/tokenizer.json     only measure bytes per token

Text is cut into pre-tokens (PATTERN), pre-tokens into bytes, and bytes are merged (Sennrich et al., arXiv 1508.07909;
on bytes as in GPT-2). All 256 bytes are in the vocabulary, so every text can be written and is read back exactly.

Special tokens in a text are plain text. That is not the default of `Tokenizer.from_file`: for text from a user or a
corpus, set `encode_special_tokens = True` and pass `add_special_tokens=False`, as `load_tokenizer` and `encode` do
here. Special tokens are then added by id (`token_to_id`) around the encoded pieces.
"""

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.corpus.documents import Document, load_documents

# Ids 0 to 5. Code finds them by content, never by number.
SPECIAL_TOKENS = ("<|pad|>", "<|mask|>", "<|eom|>", "<|prefix|>", "<|suffix|>", "<|endoftext|>")

# The alternatives for one pre-token, in this order:
#   a line end with the indentation of the next line    so that the layout of code costs one token a line
#   a word, with the space before it                    identifiers are [\p{L}\p{M}_$]; \p{M} keeps combining marks
#   up to three digits                                  never with a space: numbers look the same everywhere
#   punctuation, with the space before it               ` => {`, `);`
#   white space inside a line up to its end             trailing white space in one piece
#   one character of white space                        the rest of a run, but for the space that the next word takes
# `\s` is avoided: it means other characters in JavaScript (U+FEFF) than in Oniguruma (U+0085). White space is the six
# characters that are spelt out; what is no white space, letter, mark or digit is punctuation. So the alternatives cover
# every character, and a JavaScript RegExp with the flag `u` cuts every text in the same way; which characters are
# letters it takes from the tables of this library (src/tokenizer/unicode-classes.ts), not from its own.
PATTERN = (
    r"\n[ \t]*"
    r"| ?[\p{L}\p{M}_$]+"
    r"|\p{N}{1,3}"
    r"| ?[^ \t\n\r\f\v\p{L}\p{M}\p{N}_$]+"
    r"|[ \t\r\f\v]+(?![^ \t\n\r\f\v])"
    r"|[ \t\r\f\v]"
)

SAMPLE_BYTES = 25_000_000  # of train; more changes few merges and takes longer
MIN_FREQUENCY = 2  # a pair that occurs once is not worth a token


def new_tokenizer() -> Tokenizer:
    """The pipeline without a vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> Tokenizer:
    """Trains on the texts; the special tokens have the first ids. Raises ValueError when the texts are too few for
    the vocabulary."""
    tokenizer = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=MIN_FREQUENCY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocabulary_size:
        raise ValueError(f"expected {vocabulary_size} tokens, the texts gave {tokenizer.get_vocab_size()}")
    tokenizer.encode_special_tokens = True
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer that reads special tokens in a text as text. (The setting is not part of the file.)"""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text, never a special token."""
    return tokenizer.encode(text, add_special_tokens=False).ids


def token_bytes(tokenizer: Tokenizer) -> list[bytes | None]:
    """By id the bytes that a token writes, None of a special one."""
    byte_of = {letter: byte for byte, letter in _byte_letters().items()}
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    found: list[bytes | None] = [None] * tokenizer.get_vocab_size()
    for content, id_ in tokenizer.get_vocab().items():
        if content not in special:
            # an added token is decoded as its own text, unless every letter represents a byte
            known = all(letter in byte_of for letter in content)
            found[id_] = bytes(map(byte_of.get, content)) if known else content.encode()
    return found


def _byte_letters() -> dict[int, str]:
    """Byte → its letter in a byte-level vocabulary: printable bytes are their own letter, the others, in order, are the
    letters from U+0100 on (GPT-2)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    if set(letters.values()) != set(pre_tokenizers.ByteLevel.alphabet()):
        raise ValueError("the tokenizer library maps bytes to other letters")
    return letters


def sample_documents(documents: Sequence[Document], size: int) -> list[Document]:
    """Documents of about `size` bytes in all, the same ones every time, mixed over packages by the hash of the path."""
    chosen = []
    for document in sorted(documents, key=lambda d: hashlib.sha256(f"{d.package}/{d.path}".encode()).digest()):
        if size <= 0:
            break
        chosen.append(document)
        size -= len(document.text.encode("utf-8"))
    return chosen


def bytes_per_token(tokenizer: Tokenizer, documents: Iterable[Document]) -> dict[str, float]:
    """UTF-8 bytes per token of each language and of 'all'."""
    size: defaultdict[str, int] = defaultdict(int)
    tokens: defaultdict[str, int] = defaultdict(int)
    for document in documents:
        count = len(encode(tokenizer, document.text))
        for key in (document.language, "all"):
            size[key] += len(document.text.encode("utf-8"))
            tokens[key] += count
    return {key: size[key] / tokens[key] for key in sorted(size)}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocab", type=int, default=4096, help="vocabulary size, special tokens included")
    parser.add_argument("--out", type=Path, help="tokenizer.json to write")
    parser.add_argument("--sample-bytes", type=int, default=SAMPLE_BYTES, help="bytes of train to learn from")
    parser.add_argument("--evaluate", type=Path, metavar="FILE", help="measure this tokenizer, train none")
    options = parser.parse_args(arguments)
    if (options.out is None) == (options.evaluate is None):
        parser.error("give either --out or --evaluate")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m training.model.tokenizer`."""
    options = parse_arguments(arguments)
    if options.evaluate:
        tokenizer = load_tokenizer(options.evaluate)
    else:
        sample = sample_documents(load_documents("train"), options.sample_bytes)
        tokenizer = train_tokenizer((document.text for document in sample), options.vocab)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(options.out))
    for language, ratio in bytes_per_token(tokenizer, load_documents("validation")).items():
        print(f"{language:12} {ratio:.3f} bytes per token (validation)")


if __name__ == "__main__":
    main()
