"""Filters by path: the language of a file, and a reason for refusal. Pure functions.

A reason for refusal is a short word that `statistics.json` counts.
"""

import re
from pathlib import PurePosixPath

from training.corpus.documents import Language

LANGUAGES: dict[str, Language] = {
    ".js": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "typescript",
    ".md": "markdown",
    ".py": "python",
    ".json": "json",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".css": "css",
    ".html": "html",
    ".htm": "html",
    ".sh": "shell",
    ".bash": "shell",
    ".zsh": "shell",
}
SCRIPT = frozenset({"javascript", "typescript"})
SHEBANG_OF_SHELL = re.compile(rb"#!.*\b(?:ba|da|k|z)?sh\b")

# Code of other projects, under licences that are not in the manifest.
VENDORED = re.compile(
    r"^(node_modules|bower_components|vendors?|third[-_]?party|libs|_?vendor(?:ed|ized)?|_vendors|extern(?:al)?s?|\w+_bundled)$",
    re.IGNORECASE,
)
# Change logs and legal or community texts: long, repetitive, and not what a programmer types.
PAPERWORK = re.compile(
    r"^(changelog|changes|history|licen[sc]e|third.?party.*|notice|authors|contributors|contributing|security"
    r"|code_of_conduct|release-?notes.*|readme[-_.].+)\.md$|changelog/",
    re.IGNORECASE,
)
MINIFIED_NAME = re.compile(r"(^|/)min/|[.-](?:min|bundle|umd)\.[cm]?js$|[.-](?:min|bundle)\.(?:css|html)$")
# Files that build tools add to a wheel: METADATA, licences and lists of files.
WHEEL_METADATA = re.compile(r"^[^/]+\.dist-info/")
# Exact versions of everything, written by a package manager.
LOCK_FILE = re.compile(
    r"^(npm-shrinkwrap|bun|Pipfile|(.+[-._])?lock)\.(json|ya?ml)$|[-.]lock\.(json|ya?ml)$", re.IGNORECASE
)
GENERATED_PYTHON_NAME = re.compile(r"(_pb2(_grpc)?|(^|_)version|_generated|^(parse|lex)tab)\.py$")
MIGRATION = re.compile(r"(^|/)(migrations?|alembic(_migrations)?/versions|migrat\w*/versions)/")
# Inputs and expected outputs of tests, which are often not written as normal code.
TEST_DATA = re.compile(
    r"(^|/)(tests?|testing)/(.+/)?(data|fixtures?|snapshots?|resources?|cases|inputs?|golden|files)/"
    r"|(^|/)(test_?data|test-data|__snapshots__|cassettes|fixtures)/"
)
# Records, not configuration.
DATA_FOLDER_NAME = re.compile(
    r"^(data|datasets?|fixtures?|samples?|locales?|lang|i18n|translations|icons?|emoji)$", re.IGNORECASE
)
DOCUMENTATION_FOLDER = re.compile(r"^(docs?|api-?docs?|_build|coverage|htmlcov|site|javadoc|typedoc)$", re.IGNORECASE)
# Bundlers put a hash into the names of their chunks: 'chunk-TJKZO7EI.js', 'ws-D-DF_k_T.d.cts'.
CHUNK_NAME = re.compile(r"^chunk-|[-.](?=[\w-]*[A-Z])(?=[\w-]*[\d_])[\w-]{8}(\.d)?\.[cm]?[jt]s$")
# Shader programs inside template strings: another language.
SHADERS = re.compile(r"(^|/)(shader-?(s|lib|chunk)?(wgsl|glsl)?|glsl|wgsl)/", re.IGNORECASE)


def language_of(path: str, start: bytes = b"") -> Language | None:
    """Language by file extension, or by `start`, the first bytes of a file without one; None if it is not in the
    corpus."""
    suffix = PurePosixPath(path).suffix.lower()
    if suffix:
        return LANGUAGES.get(suffix)
    return "shell" if SHEBANG_OF_SHELL.match(start) else None


def is_declaration(path: str) -> bool:
    """Whether a file only declares the types of code that is elsewhere (.d.ts, .d.mts, .d.cts)."""
    return re.search(r"\.d\.[cm]?ts$", path) is not None


def is_test(path: str) -> bool:
    """Whether a Python file tests other code, by its folder or its name."""
    return re.search(r"(^|/)(tests?|testing)/|(^|/)(test_[^/]*|[^/]*_tests?|tests?|conftest)\.py$", path) is not None


def path_refusal(path: str, language: Language | None = None) -> str | None:
    """The reason to refuse a file by its path, one word, or None. `language` is by default that of the extension."""
    language = language or language_of(path)
    *folders, name = PurePosixPath(path).parts
    if any(VENDORED.match(folder) for folder in folders):
        return "vendored"
    if WHEEL_METADATA.search(path) or PAPERWORK.search(path if "changelog/" in path.lower() else name):
        return "paperwork"
    if MINIFIED_NAME.search(path):
        return "minified"
    if CHUNK_NAME.search(name):
        return "chunk"
    if SHADERS.search(path):
        return "shader"
    return None if language in SCRIPT or language == "markdown" else other_path_refusal(path, language)


def other_path_refusal(path: str, language: Language | None) -> str | None:
    """The same for the rules that apply only to languages other than JavaScript, TypeScript and Markdown."""
    *folders, name = PurePosixPath(path).parts
    if TEST_DATA.search(path):
        return "test data"
    if language == "python":
        if GENERATED_PYTHON_NAME.search(name):
            return "generated"
        return "migration" if MIGRATION.search(path) else None
    if LOCK_FILE.search(name):
        return "lock file"
    if language in {"json", "yaml"} and any(DATA_FOLDER_NAME.match(folder) for folder in folders):
        return "data"
    if language in {"html", "css"} and any(DOCUMENTATION_FOLDER.match(folder) for folder in folders):
        return "built documentation"
    return None
