"""The tokenizer: exact round trips, layout, special tokens. A tiny one is trained here; models/nano is tested as well
when it is there."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, pre_tokenizers

from training.corpus.documents import Document
from training.model.tokenizer import (
    PATTERN,
    SPECIAL_TOKENS,
    bytes_per_token,
    encode,
    load_tokenizer,
    main,
    sample_documents,
    train_tokenizer,
)

NANO = Path(__file__).parents[2] / "models" / "nano" / "tokenizer.json"
VOCABULARY = 340  # 6 special tokens, 256 bytes and about all merges that CODE has

CODE = """export function firstOf(list, fallback) {
  for (const item of list) {
    if (item !== undefined) {
      return item;
    }
  }
  return fallback;
}

class Queue {
\tconstructor() {
\t\tthis.items = [];
\t}
}
"""

TEXTS = {
    "empty": "",
    "code": CODE,
    "CRLF": CODE.replace("\n", "\r\n"),
    "trailing white space": "a  \n\t\n  \t  b \t\r\n   ",
    "other white space": "a\x0b\x0cb\x85c\xa0d\u2028e\u2029f\ufeffg\u3000h",
    "emoji": "// 👩‍👩‍👧‍👦 🇩🇪 👍🏽 ☕️",
    "combining marks": "e\u0301 c\u0327a\u0308 नमस्ते",
    "scripts": "переменная = \"変数\" + 'متغير'; // 1٢３",
    "numbers": "1234567 0xFF 1_000 3.14e-10",
    "controls": "".join(map(chr, range(32))) + "\x7f",
    "special tokens": "a <|mask|> b<|endoftext|>\n<|eom|><|pad|><|prefix|><|suffix|>",
    "unpaired quotes": '`${a}` \'"\\"',
}


@pytest.fixture(scope="module")
def tiny() -> Tokenizer:
    return train_tokenizer([CODE] * 4, VOCABULARY)


@pytest.fixture(scope="module", params=["tiny", "nano"])
def tokenizer(request) -> Tokenizer:
    if request.param == "tiny":
        return request.getfixturevalue("tiny")
    if not NANO.exists():
        pytest.skip("models/nano/tokenizer.json is not there")
    return load_tokenizer(NANO)


def pieces(text: str) -> list[str]:
    """Pre-tokens of a text before they become bytes."""
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    return [piece for piece, _ in split.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", TEXTS)
def test_decoding_gives_back_the_text(tokenizer, name):
    assert tokenizer.decode(encode(tokenizer, TEXTS[name]), skip_special_tokens=False) == TEXTS[name]


@pytest.mark.parametrize("seed", range(20))
def test_random_text_is_read_back_exactly(tokenizer, seed):
    draw = random.Random(seed)
    as_bytes = bytes(draw.randrange(256) for _ in range(300)).decode("latin-1")
    code_points = (draw.randrange(0x110000) for _ in range(300))
    as_text = "".join(chr(point) for point in code_points if not 0xD800 <= point < 0xE000)
    for text in (as_bytes, as_text):
        assert tokenizer.decode(encode(tokenizer, text), skip_special_tokens=False) == text


def test_texts_cut_anywhere_decode_to_their_parts(tokenizer):
    for cut in range(len(CODE)):
        parts = [encode(tokenizer, part) for part in (CODE[:cut], CODE[cut:])]
        assert tokenizer.decode(parts[0] + parts[1]) == CODE


def test_special_tokens_have_the_first_ids(tokenizer):
    assert [tokenizer.id_to_token(number) for number in range(len(SPECIAL_TOKENS))] == list(SPECIAL_TOKENS)


def test_special_tokens_in_a_text_are_text(tokenizer):
    ids = encode(tokenizer, TEXTS["special tokens"])
    assert not set(ids) & {tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}


def test_every_byte_is_in_the_vocabulary(tokenizer):
    vocabulary = tokenizer.get_vocab()
    assert all(byte in vocabulary for byte in pre_tokenizers.ByteLevel.alphabet())


def test_a_line_end_with_its_indentation_is_one_token(tokenizer):
    for indentation in ("\n", "\n  ", "\n    ", "\n      ", "\n\t", "\n\t\t"):
        # With the start of a statement behind it: that must not take a space from the indentation.
        whole, rest = encode(tokenizer, f"{indentation}return"), encode(tokenizer, "return")
        assert whole[1:] == rest, repr(indentation)
        assert tokenizer.decode(whole[:1]) == indentation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n    return a;", ["\n    ", "return", " a", ";"]),
        ("\n\n\t\tif (x)", ["\n", "\n\t\t", "if", " (", "x", ")"]),
        ("a = 12345;", ["a", " =", " ", "123", "45", ";"]),
        ("const $el_1 = x2", ["const", " $el_", "1", " =", " x", "2"]),
        ("a  b", ["a", " ", " b"]),
        ("a  \r\nb", ["a", "  \r", "\n", "b"]),
        ("a \t\n", ["a", " \t", "\n"]),
        ("=> {\n", ["=>", " {", "\n"]),
        ("caf\u0065\u0301!", ["caf\u0065\u0301", "!"]),
        ("a\u00a0b\u2028", ["a", "\u00a0", "b", "\u2028"]),
        ("\ufeffa\x85", ["\ufeff", "a", "\x85"]),
    ],
)
def test_text_is_cut_as_documented(text, expected):
    assert pieces(text) == expected


def test_the_pattern_covers_every_character():
    points = [*range(0x3100), 0xFEFF, 0xFFFD, 0x1D7D8, 0x1F600, 0x10FFFF]
    for point in points:
        assert "".join(pieces(f"a{chr(point)} b")) == f"a{chr(point)} b"
        # One more character than the pattern knows would be glued to a neighbour or left between two matches.
        assert all(piece in ("a", " ", " b", "b") or chr(point) in piece for piece in pieces(f"a{chr(point)} b"))


def test_the_file_states_the_pipeline_that_other_readers_rely_on(tiny, tmp_path):
    tiny.save(str(tmp_path / "tokenizer.json"))
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    split, byte_level = content["pre_tokenizer"]["pretokenizers"]
    assert (split["pattern"], split["behavior"], split["invert"]) == ({"Regex": PATTERN}, "Isolated", False)
    assert (byte_level["add_prefix_space"], byte_level["use_regex"]) == (False, False)
    assert (content["model"]["type"], content["decoder"]["type"]) == ("BPE", "ByteLevel")
    assert content["normalizer"] is None
    assert [token["content"] for token in content["added_tokens"]] == list(SPECIAL_TOKENS)
    assert encode(load_tokenizer(tmp_path / "tokenizer.json"), CODE) == encode(tiny, CODE)


def test_too_little_text_for_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="expected 4096 tokens"):
        train_tokenizer(["a b c"], 4096)


def test_training_twice_gives_the_same_tokenizer(tiny):
    assert train_tokenizer([CODE] * 4, VOCABULARY).to_str() == tiny.to_str()


def test_the_sample_is_stable_and_of_the_size_asked_for():
    documents = [Document("p", f"{number}.js", "javascript", "x" * 100) for number in range(100)]
    sample = sample_documents(documents, 1_000)
    assert len(sample) == 10
    assert sample == sample_documents(documents[::-1], 1_000)


def test_bytes_per_token_counts_bytes_by_language(tiny):
    documents = [Document("p", "a.js", "javascript", "éé"), Document("p", "b.md", "markdown", "\n")]
    # é is two bytes and not in the training text: four tokens. The line end is one byte and one token.
    assert bytes_per_token(tiny, documents) == {"all": 1.0, "javascript": 1.0, "markdown": 1.0}


def test_the_command_line_asks_for_a_file():
    with pytest.raises(SystemExit):
        main(["--vocab", "4096"])
