"""Compares src/tokenizer with the `tokenizers` library: ids and text of every document of a corpus, and of hard texts.

    python -m training.export.tokenizer_parity --tokenizer models/nano/tokenizer.json                  the whole corpus
    python -m training.export.tokenizer_parity --tokenizer models/small/tokenizer.json --splits validation
    python -m training.export.tokenizer_parity --golden [--check]       test/golden/tokenizers: two small tokenizers

The golden tokenizers are cut from a few texts: `digits`, with the pipeline of `small` and added tokens of all kinds,
and `words`, with that of `nano`. Their texts hold characters of every Unicode category, in the places where they
matter.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, pre_tokenizers, trainers

from training.corpus.documents import load_documents
from training.export.golden import CASES, COMPLETIONS, TEXTS
from training.model.base import base_tokenizer
from training.model.tokenizer import SPECIAL_TOKENS, load_tokenizer, new_tokenizer

FOLDER = Path("test/golden/tokenizers")
VOCABULARY = 400
SPLITS = ("train", "validation", "test")
BATCH = 256
SHOWN = 5  # differences that are printed
OF_CATEGORY = 6  # characters of each Unicode category, evenly over it

HARD = [
    *TEXTS,
    "1234 ٣ ½ Ⅷ 第3章 x²+y₂ 3.14e-10 v2.0.1 0b1010 １２ 𝟛 🄀",
    "it's we're I've I'm they'll he'd IT'S 'sup ''s 's're don''t",
    "a\r\nb\r\n\r\n  c\rd\n\n\n\te",
    "🎉👩‍👩‍👧🏽🇫🇷🏴‍☠️1️⃣ ❤️",
    "e\u0301a\u0308\u0323 क्षि ก็ ﷺ \u0301 x\u20dd",
    "a\u00a0b\u00a0 c \u00a0d\u202fe\u3000f\u2009\u200ag",
    "a\u0085b \u0085 c\ufeffd \ufeff e\u180ef\u200bg\u2060h",
    " ".join(" " * n + "x" + " " * n + "7" for n in range(9)),
    " " * 300 + "x" + "\t" * 100 + "y" + "\n" * 50 + " \n \n  \n" + " " * 40,
    "=" * 300 + "-" * 77 + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "   9   a   !   \n   9",
    "a <think> b</think>c <think>d</think> <thinking> < think>",
    "go<word>go <word> .<word>! é<word> <word>",
    "x  <left>  y\n<left>z  <right>  w<right>\n\n<both> \t <both>",
    "<|mask|><think> <|think|> <|<think>|>",
    "caf\u00e9 cafe\u0301 Caf\u00e9s \u212b \u00c5",
    "constructor __proto__ toString hasOwnProperty valueOf",
    "\u0000\u0001\u001f\u007f\u0080\u009f\ufffd\uffff\U0010ffff\ue000",
    # letters, digits and marks that came with Unicode 15 to 17
    "\U00011f02a\U0001e4d0 \U00010d4a\U000105c0 \U00011de0\U00011db0!\U00016ea0 \U0001ccd6\u0897\u1acf a\ua7dca\U000323b0",
]


def category_texts() -> list[str]:
    """A text for each Unicode category, with some of its characters between characters of all kinds."""
    members: dict[str, list[str]] = defaultdict(list)
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            members[unicodedata.category(chr(code))].append(chr(code))
    texts = []
    for category in sorted(members):
        found = members[category]
        chosen = {found[len(found) * i // OF_CATEGORY] for i in range(OF_CATEGORY)} | {found[-1]}
        texts.append("".join(f"a{c}{c}b {c}7{c} !{c}\n{c}  {c}'s" for c in sorted(chosen)))
    return texts


def golden_tokenizers() -> dict[str, Tokenizer]:
    """Tokenizers that are small and need no corpus."""
    texts = [*HARD, *(text for pair in (*COMPLETIONS, *CASES.values()) for text in pair)]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found = {"digits": base_tokenizer({}, [], []), "words": new_tokenizer()}
    for tokenizer in found.values():
        tokenizer.train_from_iterator(texts, trainer)
    found["digits"].add_tokens(
        [
            AddedToken("<think>", normalized=False),
            AddedToken("</think>"),
            AddedToken("<word>", single_word=True),
            AddedToken("<left>", lstrip=True),
            AddedToken("<right>", rstrip=True),
            AddedToken("<both>", lstrip=True, rstrip=True, normalized=False),
            AddedToken("<|mask|><"),
            AddedToken("cafe\u0301"),
            AddedToken("Caf\u00e9s"),
        ]
    )
    return found


def read(tokenizer: Tokenizer, text: str) -> dict:
    """What src/tokenizer has to give for a text."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)}


def write_golden() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    texts = [*HARD, *category_texts()]
    for name, tokenizer in golden_tokenizers().items():
        tokenizer.save(str(FOLDER / f"{name}.json"), pretty=False)
        tokenizer = load_tokenizer(FOLDER / f"{name}.json")
        lines = [json.dumps({"input": text, **read(tokenizer, text)}) for text in texts]
        (FOLDER / f"{name}.texts.jsonl").write_text("\n".join(lines) + "\n")


def check_golden() -> list[str]:
    """Committed texts that the library reads otherwise today."""
    problems = []
    for path in sorted(FOLDER.glob("*.texts.jsonl")):
        tokenizer = load_tokenizer(FOLDER / path.name.replace(".texts.jsonl", ".json"))
        for line in path.read_text().splitlines():
            stored = json.loads(line)
            text = stored.pop("input")
            if stored != read(tokenizer, text):
                problems.append(f"{path.name}: {text[:40]!r} is read otherwise")
    return problems


def runtime(path: Path, texts: list[str]) -> Iterator[dict]:
    """Ids and text of src/tokenizer, text by text."""
    with tempfile.TemporaryFile("w+") as lines:
        lines.writelines(f"{json.dumps(text)}\n" for text in texts)
        lines.seek(0)
        command = ["npx", "--no-install", "node", "scripts/tokenize.ts", str(path)]
        with subprocess.Popen(command, stdin=lines, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                yield json.loads(line)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")


def differences(path: Path, texts: list[str]) -> Iterator[str]:
    """Texts in which the two disagree, in words."""
    tokenizer = load_tokenizer(path)
    answers = runtime(path, texts)
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        for text, encoding, answer in zip(
            batch, tokenizer.encode_batch(batch, add_special_tokens=False), answers, strict=False
        ):
            ids = encoding.ids
            if ids != answer["ids"]:
                at = next((i for i, (a, b) in enumerate(zip(ids, answer["ids"])) if a != b), 0)
                yield f"ids from token {at} on: {tokenizer.decode(ids[max(0, at - 3) : at + 3])!r}"
            elif answer["text"] != tokenizer.decode(ids, skip_special_tokens=True):
                yield f"text of {text[:60]!r}"
    if next(answers, None) is not None:
        raise RuntimeError("src/tokenizer gave more answers than there are texts")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, default=Path("models/nano/tokenizer.json"))
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--golden", action="store_true", help="write test/golden/tokenizers")
    parser.add_argument(
        "--check", action="store_true", help="with --golden: compare them with the library, write nothing"
    )
    options = parser.parse_args(arguments)
    if options.golden and not options.check:
        write_golden()
        return 0
    if options.golden:
        problems = check_golden()
        print("\n".join(problems) or "the golden texts are fresh")
        return bool(problems)
    texts = [*HARD, *category_texts()]
    for split in options.splits:
        texts += [document.text for document in load_documents(split)]
    shown = list(islice(differences(options.tokenizer, texts), SHOWN))
    print("\n".join(shown) or f"{len(texts)} texts, {sum(map(len, texts))} characters: the same ids and the same text")
    return bool(shown)


if __name__ == "__main__":
    sys.exit(main())
