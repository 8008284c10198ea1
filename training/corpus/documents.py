"""Reading and writing the corpus: one zstd-compressed file of JSON lines a split, packages in order, then paths.

from training.corpus.documents import load_documents
documents = load_documents('train')
"""

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import zstandard

from training.corpus.manifest import Split

DATA_FOLDER = Path(__file__).parents[1] / ".data"
CORPUS_FOLDER = DATA_FOLDER / "corpus"
COMPRESSION_LEVEL = 10  # higher levels are several times slower and save a few per cent

Language = Literal["javascript", "typescript", "markdown", "python", "json", "yaml", "css", "html", "shell"]


@dataclass(frozen=True)
class Document:
    """One file of one package; `path` is relative to the package and `text` ends its lines with LF only."""

    package: str
    path: str
    language: Language
    text: str


def split_path(split: Split, folder: Path = CORPUS_FOLDER) -> Path:
    """The file with the documents of a split."""
    return folder / f"{split}.jsonl.zst"


def write_documents(documents: Iterable[Document], split: Split, folder: Path = CORPUS_FOLDER) -> None:
    """Writes a split. The same documents give the same bytes, and a reader never sees an incomplete file."""
    folder.mkdir(parents=True, exist_ok=True)
    compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
    path = split_path(split, folder)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file, compressor.stream_writer(file) as stream:
        for document in documents:
            stream.write(json.dumps(asdict(document), ensure_ascii=False).encode("utf-8") + b"\n")
    partial.replace(path)


def load_documents(split: Split, folder: Path = CORPUS_FOLDER) -> list[Document]:
    """All documents of a split, packages in manifest order. Raises FileNotFoundError when the corpus is not built."""
    path = split_path(split, folder)
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: build the corpus with `python -m training.corpus.build`")
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        # newline='\n': a document may hold a lone U+2028 or CR inside its JSON string; only LF ends a line.
        return [Document(**json.loads(line)) for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n")]
