"""Builds the corpus: fetch, filter, de-duplicate, split, count.

    python -m training.corpus.build                    everything that the manifest lists
    python -m training.corpus.build --offline          no download: only packages that are already unpacked
    python -m training.corpus.build --tokenizer models/nano/tokenizer.json
                                                       count tokens as well (default: when that file exists)
    python -m training.corpus.build --packages DIR --out DIR --statistics FILE    other places for input and output

Reads   training/corpus/manifest.json
Writes  training/.data/packages/           unpacked packages
        training/.data/corpus/*.jsonl.zst  {train,validation,test}: one JSON document a line
        training/corpus/statistics.json    the only output that is committed
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer
from tqdm import tqdm

from training.corpus.documents import CORPUS_FOLDER, DATA_FOLDER, Document, Language, write_documents
from training.corpus.duplicates import NEAR_DUPLICATE, NEAR_DUPLICATE_ACROSS, SketchIndex, exact_key, sketch
from training.corpus.fetch import check_licence, fetch_packages
from training.corpus.filters import MAX_BYTES, decode, strip_boilerplate, text_refusal
from training.corpus.manifest import SPLITS, Package, Split, load_manifest
from training.corpus.paths import language_of, path_refusal
from training.corpus.selection import (
    limit_declarations,
    limit_languages,
    limit_locales,
    limit_packages,
    limit_tests,
    one_form_a_module,
)
from training.corpus.statistics import STATISTICS_PATH, describe, write_statistics

TOKENIZER_PATH = Path(__file__).parents[2] / "models" / "nano" / "tokenizer.json"
MAX_STORED_BYTES = (
    2 * MAX_BYTES
)  # larger files need not be read: a licence header is small, so they are still too long without it


@dataclass
class Corpus:
    """Documents of each split, and how many every filter removed ('files' counts those with a known extension)."""

    splits: dict[Split, list[Document]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    removed: dict[Split, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})


def read_package(package: Package, folder: Path, removed: Counter[str]) -> list[Document]:
    """Readable documents of one unpacked package in path order. Counts the refused files."""
    accepted: dict[str, Language] = {}
    for path, language in languages_of(folder):
        reason = path_refusal(path, language)
        if reason is None:
            accepted[path] = language
        else:
            removed[reason] += 1
    documents = []
    chosen = one_form_a_module(accepted)
    removed["other form of a module"] += len(accepted) - len(chosen)
    for path in chosen:
        document, reason = read_document(package.name, folder / path, path, accepted[path])
        if document is None:
            removed[reason] += 1
        else:
            documents.append(document)
    documents, dropped = limit_locales(documents)
    removed["locale beyond limit"] += len(dropped)
    documents, dropped = limit_declarations(documents)
    removed["declaration beyond limit"] += len(dropped)
    documents, dropped = limit_tests(documents)
    removed["test beyond limit"] += len(dropped)
    return documents


def languages_of(folder: Path) -> Iterator[tuple[str, Language]]:
    """Path and language of every file below `folder` in a language of the corpus."""
    for file in folder.rglob("*"):
        if file.is_symlink() or not file.is_file():
            continue
        start = b""
        if not file.suffix:
            with file.open("rb") as stream:
                start = stream.readline(64)
        path = file.relative_to(folder).as_posix()
        language = language_of(path, start)
        if language:
            yield path, language


def read_document(package: str, file: Path, path: str, language: Language) -> tuple[Document, None] | tuple[None, str]:
    """(document, None), or (None, reason) when the file is refused."""
    if file.stat().st_size > MAX_STORED_BYTES:
        return None, "long"
    text = decode(file.read_bytes())
    if text is None:
        return None, "not text"
    text = strip_boilerplate(text, language)
    reason = text_refusal(text, language)
    return (None, reason) if reason else (Document(package, path, language, text), None)


def without_duplicates(corpus: Corpus) -> Iterator[tuple[Split, list[Document]]]:
    """Each split without exact and near duplicates. Train is first: held-out documents must differ from it."""
    seen: set[bytes] = set()
    earlier_splits: list[SketchIndex] = []
    for split, documents in corpus.splits.items():
        removed = corpus.removed[split]
        index = SketchIndex()
        kept = []
        for document in tqdm(documents, desc=f"duplicates in {split}", unit="document", disable=None):
            key = exact_key(document.text)
            document_sketch = sketch(document.text)
            if key in seen:
                removed["exact duplicate"] += 1
            elif any(other.best_similarity(document_sketch) >= NEAR_DUPLICATE_ACROSS for other in earlier_splits):
                removed["near duplicate of another split"] += 1
            elif index.best_similarity(document_sketch) >= NEAR_DUPLICATE:
                removed["near duplicate"] += 1
            else:
                seen.add(key)
                index.add(document_sketch)
                kept.append(document)
        earlier_splits.append(index)
        yield split, kept


def build_corpus(packages: Sequence[Package], folder: Path) -> Corpus:
    """The corpus of the packages in `folder`. Raises ManifestError on a licence that differs from the manifest."""
    corpus = Corpus()
    for package in tqdm(packages, desc="filter", unit="package", disable=None):
        check_licence(package, folder / package.folder)
        corpus.splits[package.split] += read_package(package, folder / package.folder, corpus.removed[package.split])
    for split, documents in without_duplicates(corpus):
        corpus.splits[split] = documents
    corpus.splits["train"], dropped = limit_languages(corpus.splits["train"])
    corpus.removed["train"]["language beyond limit"] += len(dropped)
    corpus.splits["train"], dropped = limit_packages(corpus.splits["train"])
    corpus.removed["train"]["package beyond limit"] += len(dropped)
    return corpus


def count_tokens(documents: Sequence[Document], tokenizer: Tokenizer) -> list[int]:
    """Tokens of each document, without any special token."""
    counts = []
    for start in tqdm(range(0, len(documents), 256), desc="count tokens", unit="batch", disable=None):
        texts = [document.text for document in documents[start : start + 256]]
        counts += [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return counts


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=DATA_FOLDER / "packages", help="unpacked packages")
    parser.add_argument("--out", type=Path, default=CORPUS_FOLDER, help="folder of the splits")
    parser.add_argument("--statistics", type=Path, default=STATISTICS_PATH)
    parser.add_argument("--tokenizer", type=Path, default=TOKENIZER_PATH, help="tokens are counted when it exists")
    parser.add_argument("--offline", action="store_true", help="use what is unpacked, download nothing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m training.corpus.build`."""
    options = parse_arguments(arguments)
    packages = load_manifest()
    if not options.offline:
        fetch_packages(packages, options.packages)
    corpus = build_corpus(packages, options.packages)
    for split, documents in reversed(corpus.splits.items()):  # train last: when it exists, the others do too
        write_documents(documents, split, options.out)
    tokens = None
    if options.tokenizer.exists():
        tokenizer = Tokenizer.from_file(str(options.tokenizer))
        tokenizer.encode_special_tokens = True  # special tokens in a file are text
        tokens = {split: count_tokens(documents, tokenizer) for split, documents in corpus.splits.items()}
    statistics = describe(corpus.splits, corpus.removed, tokens)
    write_statistics(statistics, options.statistics)
    for split, documents in corpus.splits.items():
        size = sum(len(document.text.encode("utf-8")) for document in documents)
        print(f"{split:10} {len(documents):7,} documents {size / 1e6:8.2f} MB")


if __name__ == "__main__":
    main()
