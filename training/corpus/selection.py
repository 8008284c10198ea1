"""Selects the files of a package: one form of each module, few locale tables, a limited share of the corpus per
package.

Selections among many files are by the hash of the path, so that a rebuild selects the same files.
"""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from training.corpus.documents import Document, Language
from training.corpus.paths import SCRIPT, is_declaration, is_test, language_of

MAX_PACKAGE_SHARE = 0.03  # of the bytes of train: no single style may dominate
MAX_DECLARATION_SHARE = 0.15  # of the bytes of a package: .d.ts files teach types, not code
MAX_TEST_SHARE = 0.2  # of the bytes of a package's Python: tests repeat their set-up
# Shares of the bytes of train if every language used its share; JavaScript, TypeScript and Markdown are the rest.
# Unused shares go to the other languages. Large packages are cut so that small ones stay whole.
MAX_LANGUAGE_SHARE: dict[Language, float] = {
    "python": 0.32,
    "json": 0.02,
    "yaml": 0.02,
    "css": 0.03,
    "html": 0.03,
    "shell": 0.02,
}
MAX_LOCALE_FILES = 8  # per package; others repeat the same structure with other words

# Folders with several forms of the same modules (source, CommonJS, ES modules, declarations).
BUILD_FOLDERS = frozenset(
    [
        "__cjs",
        "_cjs",
        "_compiled_",
        "_esm",
        "_ts3.4",
        "_types",
        "browser",
        "build",
        "builds",
        "cjs",
        "cjs-src",
        "commonjs",
        "debug",
        "declarations",
        "development",
        "dist",
        "dist-src",
        "dist.webgl-only",
        "es",
        "es2015",
        "es2020",
        "es6",
        "esm",
        "esm5",
        "fesm",
        "lib",
        "lib-esm",
        "lib.commonjs",
        "lib.esm",
        "module",
        "modules",
        "node",
        "out",
        "output",
        "production",
        "source",
        "src",
        "src.ts",
        "standalone",
        "ts3.4",
        "ts4.0",
        "types",
        "typescript",
        "typings",
        "umd",
    ]
)
SOURCE_FOLDERS = frozenset({"src", "src.ts", "source"})
LOCALE = re.compile(r"(^|/)(locales?|lang|langs|i18n|translations|icon-set)/", re.IGNORECASE)


def path_hash(document: Document) -> bytes:
    """A stable pseudo-random key of a document."""
    return hashlib.sha256(f"{document.package}/{document.path}".encode()).digest()


def module_key(path: str) -> tuple[bool, tuple[str, ...], str]:
    """A key that is equal for all forms of a module ('dist/esm/a/b.js', 'src/a/b.ts'); declarations have their own."""
    *folders, name = PurePosixPath(path).parts
    stem = re.sub(r"(\.d)?\.([cm]?[jt]s|[jt]sx)$", "", name)
    return is_declaration(path), tuple(folder for folder in folders if folder not in BUILD_FOLDERS), stem


def form_rank(path: str) -> tuple[int, int, int, str]:
    """Order of preference among the forms of a module: source before build, TypeScript before JavaScript."""
    folders = PurePosixPath(path).parts[:-1]
    is_source = bool(SOURCE_FOLDERS.intersection(folders)) and not is_declaration(path)
    is_typescript = re.search(r"\.[cm]?tsx?$", path) is not None
    is_build = any("cjs" in folder or "commonjs" in folder for folder in folders) or path.endswith(".cjs")
    return (0 if is_source else 1, 0 if is_typescript else 1, 1 if is_build else 0, path)


def one_form_a_module(paths: Iterable[str]) -> list[str]:
    """Keeps the preferred form of every module, and a declaration only if the module has no TypeScript source."""
    best: dict[tuple[bool, tuple[str, ...], str], str] = {}
    kept = []
    for path in sorted(paths, key=form_rank):
        if language_of(path) not in SCRIPT:
            kept.append(path)
            continue
        key = module_key(path)
        if key not in best:
            best[key] = path
    for (declaration, folders, stem), path in best.items():
        code = best.get((False, folders, stem))
        if not (declaration and code is not None and re.search(r"\.[cm]?tsx?$", code)):
            kept.append(path)
    return sorted(kept)


def keep_within(
    documents: Sequence[Document], budget: float, size: Callable[[Document], int]
) -> tuple[list[Document], list[Document]]:
    """(kept, dropped): takes documents by path hash while their sizes fit in `budget`; the given order is kept."""
    taken: set[tuple[str, str]] = set()
    used = 0
    for document in sorted(documents, key=path_hash):
        if used + size(document) <= budget:
            used += size(document)
            taken.add((document.package, document.path))
    kept = [document for document in documents if (document.package, document.path) in taken]
    return kept, [document for document in documents if (document.package, document.path) not in taken]


def byte_size(document: Document) -> int:
    """UTF-8 bytes of the text."""
    return len(document.text.encode("utf-8"))


def limit_locales(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """(kept, dropped) of one package: at most MAX_LOCALE_FILES files of locale folders."""
    _, dropped = keep_within([d for d in documents if LOCALE.search(d.path)], MAX_LOCALE_FILES, lambda _: 1)
    paths = {document.path for document in dropped}
    return [document for document in documents if document.path not in paths], dropped


def limit_declarations(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """(kept, dropped) of one package: declarations are at most MAX_DECLARATION_SHARE of the bytes that are kept."""
    code = [d for d in documents if d.language in SCRIPT or d.language == "markdown"]
    code_bytes = sum(byte_size(document) for document in code if not is_declaration(document.path))
    budget = code_bytes * MAX_DECLARATION_SHARE / (1 - MAX_DECLARATION_SHARE)
    _, dropped = keep_within([d for d in documents if is_declaration(d.path)], budget, byte_size)
    paths = {document.path for document in dropped}
    return [document for document in documents if document.path not in paths], dropped


def limit_tests(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """(kept, dropped) of one package: tests are at most MAX_TEST_SHARE of the bytes of its Python that is kept."""
    python = [document for document in documents if document.language == "python"]
    code_bytes = sum(byte_size(document) for document in python if not is_test(document.path))
    budget = code_bytes * MAX_TEST_SHARE / (1 - MAX_TEST_SHARE)
    _, dropped = keep_within([document for document in python if is_test(document.path)], budget, byte_size)
    paths = {document.path for document in dropped}
    return [document for document in documents if document.path not in paths], dropped


def package_byte_limit(sizes: Sequence[int]) -> float:
    """The limit c for which c = MAX_PACKAGE_SHARE * sum(min(size, c)): no package exceeds the share *after* the cut.

    Iterated from above; each round shrinks the distance by at least the share of the cut packages, which is below 1
    as long as fewer than 1 / MAX_PACKAGE_SHARE packages are cut. With fewer packages than that there is no limit.
    """
    if len([size for size in sizes if size > 0]) * MAX_PACKAGE_SHARE <= 1:
        return float(sum(sizes))
    limit = MAX_PACKAGE_SHARE * sum(sizes)
    for _ in range(1_000):
        smaller = MAX_PACKAGE_SHARE * sum(min(size, limit) for size in sizes)
        if limit - smaller < 1:
            break
        limit = smaller
    return limit


def limit_packages(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """(kept, dropped): cuts every package to MAX_PACKAGE_SHARE of the bytes of all that is kept."""
    by_package: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        by_package[document.package].append(document)
    limit = package_byte_limit([sum(map(byte_size, group)) for group in by_package.values()])
    kept: list[Document] = []
    dropped: list[Document] = []
    for group in by_package.values():
        group_kept, group_dropped = keep_within(group, limit, byte_size)
        kept += group_kept
        dropped += group_dropped
    return kept, dropped


def common_limit(sizes: Iterable[int], budget: float) -> float:
    """The limit c for which sum(min(size, c)) is the budget; infinite when all sizes fit into it."""
    ascending = sorted(sizes)
    for position, size in enumerate(ascending):
        share = budget / (len(ascending) - position)
        if size > share:
            return share
        budget -= size
    return math.inf


def limit_languages(documents: Sequence[Document]) -> tuple[list[Document], list[Document]]:
    """(kept, dropped): cuts each language of MAX_LANGUAGE_SHARE to its share of all bytes, largest packages first."""
    groups: defaultdict[Language, defaultdict[str, list[Document]]] = defaultdict(lambda: defaultdict(list))
    for document in documents:
        if document.language in MAX_LANGUAGE_SHARE:
            groups[document.language][document.package].append(document)
    others = sum(byte_size(document) for document in documents if document.language not in MAX_LANGUAGE_SHARE)
    all_bytes = others / (1 - sum(MAX_LANGUAGE_SHARE.values()))  # when every language takes its share
    cut: set[tuple[str, str]] = set()
    for language, packages in groups.items():
        sizes = [sum(map(byte_size, group)) for group in packages.values()]
        limit = common_limit(sizes, MAX_LANGUAGE_SHARE[language] * all_bytes)
        for group in packages.values():
            _, beyond = keep_within(group, limit, byte_size)
            cut |= {(document.package, document.path) for document in beyond}
    kept = [document for document in documents if (document.package, document.path) not in cut]
    return kept, [document for document in documents if (document.package, document.path) in cut]
