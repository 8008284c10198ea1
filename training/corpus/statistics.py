"""Statistics of the corpus: its contents, and how much each filter removed. Written to `statistics.json`."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.corpus.documents import Document
from training.corpus.manifest import Split

STATISTICS_PATH = Path(__file__).with_name("statistics.json")


def count(documents: Sequence[Document], tokens: Sequence[int] | None = None) -> dict[str, int]:
    """Documents, characters, bytes and, where the token count of each document is given, tokens."""
    totals = {
        "documents": len(documents),
        "characters": sum(len(document.text) for document in documents),
        "bytes": sum(len(document.text.encode("utf-8")) for document in documents),
    }
    if tokens is not None:
        totals["tokens"] = sum(tokens)
    return totals


def describe(
    splits: Mapping[Split, Sequence[Document]],
    removed: Mapping[Split, Mapping[str, int]],
    tokens: Mapping[Split, Sequence[int]] | None = None,
) -> dict[str, object]:
    """The content of `statistics.json`. `tokens` holds the token count of each document, in the order of the split."""
    described: dict[str, object] = {"splits": {}, "packages": {}, "removed": {}}
    for split, documents in splits.items():
        split_tokens = None if tokens is None else tokens[split]
        positions: defaultdict[str, list[int]] = defaultdict(list)
        for position, document in enumerate(documents):
            positions[document.language].append(position)
        languages = {
            language: count(
                [documents[position] for position in of_language],
                None if split_tokens is None else [split_tokens[position] for position in of_language],
            )
            for language, of_language in sorted(positions.items())
        }
        described["splits"][split] = {**count(documents, split_tokens), "languages": languages}
        package_bytes: Counter[str] = Counter()
        for document in documents:
            package_bytes[document.package] += len(document.text.encode("utf-8"))
        described["packages"][split] = dict(package_bytes.most_common())
        described["removed"][split] = dict(sorted(removed[split].items()))
    return described


def write_statistics(statistics: Mapping[str, object], path: Path = STATISTICS_PATH) -> None:
    """Writes the counts as indented JSON."""
    path.write_text(json.dumps(statistics, indent=2) + "\n", encoding="utf-8")
