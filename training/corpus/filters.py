"""What is readable source text and what is not: pure functions from a path or a text to a reason for refusal.

Every limit is a named constant with its reason. A reason is a short word that `statistics.json` counts.
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
}

# Code of other projects, under licences that the manifest does not know.
VENDORED = re.compile(r"^(node_modules|bower_components|vendors?|third[-_]?party|libs)$", re.IGNORECASE)
# Change logs and legal or community texts: long, repetitive, and nothing that a programmer types.
PAPERWORK = re.compile(
    r"^(changelog|changes|history|licen[sc]e|third.?party.*|notice|authors|contributors|contributing|security"
    r"|code_of_conduct|release-?notes.*|readme[-_.].+)\.md$|changelog/",
    re.IGNORECASE,
)
MINIFIED_NAME = re.compile(r"(^|/)min/|[.-](?:min|bundle|umd)\.[cm]?js$")
# Bundlers put a hash into the names of their chunks: 'chunk-TJKZO7EI.js', 'ws-D-DF_k_T.d.cts'.
CHUNK_NAME = re.compile(r"^chunk-|[-.](?=[\w-]*[A-Z])(?=[\w-]*[\d_])[\w-]{8}(\.d)?\.[cm]?[jt]s$")
# Shader programs inside template strings: another language.
SHADERS = re.compile(r"(^|/)(shader-?(s|lib|chunk)?(wgsl|glsl)?|glsl|wgsl)/", re.IGNORECASE)

MIN_BYTES = 200  # below it: re-exports and stubs
MAX_BYTES = 200_000  # above it: bundles and tables
MAX_MEAN_LINE = 100  # characters; written code is at 25 to 45, minified code at thousands
MAX_LINE = 400  # characters
MAX_MEAN_LINE_PROSE = 300  # Markdown is often written with one paragraph a line
MAX_LINE_PROSE = 2_000
MIN_WHITESPACE_SHARE = 0.08  # indented code is at 0.2 to 0.4, minified code at 0.02
MAX_DIGIT_SHARE = 0.25  # of the characters that are not white space; above it: tables of numbers
MIN_DISTINCT_LINE_SHARE = 0.3  # below it: tables and repeated stubs
MIN_LINES_FOR_DISTINCT = 30  # a short file repeats `}` often enough to look repetitive

# TAB, LF, FF and CR are white space of JavaScript; no other control character occurs in source that was typed.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
GENERATED = re.compile(
    r"@generated\b|DO NOT (?:EDIT|MODIFY)|Do not edit (?:this file|manually|directly|by hand)|AUTO-?GENERATED"
    r"|[Aa]uto-?matically generated|automatically rebuilt|[Ff]ile generated (?:from|by)"
    r"|[Tt]his file (?:is|was) (?:auto-?)?generated"
    r"|sourceMappingURL=data:|webpackBootstrap|^/\*{6}/|//#region node_modules"
    r"|typeof exports === 'object' && typeof module !== 'undefined' \?",
    re.MULTILINE,
)
GENERATED_WINDOW = 3_000  # characters at each end of a file in which such a marker speaks of the file itself
# Helpers that compilers insert for old engines: what surrounds them is not how anybody writes code.
TRANSPILED = re.compile(
    r"\b(?:__generator|_classCallCheck|_createClass|_asyncToGenerator|asyncGeneratorStep|_regenerator(?:Runtime)?"
    r"|regeneratorRuntime|_objectWithoutProperties|_inheritsLoose|__extends|__spreadArray)\b"
    r"|__awaiter = \(|__decorate = \(|_jsxs?\(|_ctx\.|_createElementVNode|_createVNode\("
)
ENCODED = re.compile(r"[A-Za-z0-9+/=]{200}|(?:\\u[0-9a-fA-F]{4}){20}|(?:\\x[0-9a-fA-F]{2}){20}")
SOURCE_MAP_LINE = re.compile(r"^//[#@] sourceMappingURL=.*\n?", re.MULTILINE)
# A licence notice at the top is the same in hundreds of files; its length is no limit that a match could run past.
LICENCE_HEADER = re.compile(r"\A(#![^\n]*\n)?\s*(?:/\*(?:(?!\*/)[\s\S])*\*/|(?://[^\n]*\n)+)\s*")
LICENCE_WORDS = re.compile(r"licen[sc]e|copyright|\(c\)|all rights reserved", re.IGNORECASE)
STRICT_DIRECTIVE = re.compile(r"""\A(['"])use strict\1;?\s*(?=/\*|//)""")


def language_of(path: str) -> Language | None:
    """Language by file extension; None for a file that the corpus does not take."""
    return LANGUAGES.get(PurePosixPath(path).suffix.lower())


def is_declaration(path: str) -> bool:
    """Whether a file only declares the types of code that is elsewhere (.d.ts, .d.mts, .d.cts)."""
    return re.search(r"\.d\.[cm]?ts$", path) is not None


def path_refusal(path: str) -> str | None:
    """Why a file is refused by where it lies: 'vendored', 'paperwork', 'minified', 'chunk', 'shader', or None."""
    *folders, name = PurePosixPath(path).parts
    if any(VENDORED.match(folder) for folder in folders):
        return "vendored"
    if PAPERWORK.search(path if "changelog/" in path.lower() else name):
        return "paperwork"
    if MINIFIED_NAME.search(path):
        return "minified"
    if CHUNK_NAME.search(name):
        return "chunk"
    return "shader" if SHADERS.search(path) else None


def decode(content: bytes) -> str | None:
    """Text of a file with LF line ends and without byte order mark; None when it is not UTF-8 text."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return None if CONTROL.search(text) else text


def strip_boilerplate(text: str) -> str:
    """Removes a licence notice at the top and references to source maps."""
    text = SOURCE_MAP_LINE.sub("", text)
    body = STRICT_DIRECTIVE.sub("", text)
    header = LICENCE_HEADER.match(body)
    if header and LICENCE_WORDS.search(header.group()):
        text = (header.group(1) or "") + body[header.end() :]
    return text.strip("\n") + "\n"


def is_minified(text: str, language: Language) -> bool:
    """By line length and by the share of white space."""
    prose = language == "markdown"
    lines = text.splitlines()
    longest = max((len(line) for line in lines), default=0)
    if longest > (MAX_LINE_PROSE if prose else MAX_LINE):
        return True
    if len(text) / max(len(lines), 1) > (MAX_MEAN_LINE_PROSE if prose else MAX_MEAN_LINE):
        return True
    return whitespace_share(text) < MIN_WHITESPACE_SHARE


def whitespace_share(text: str) -> float:
    """Share of spaces, tabs and line ends in all characters."""
    return (text.count(" ") + text.count("\n") + text.count("\t")) / max(len(text), 1)


def is_generated(text: str) -> bool:
    """By what generators and bundlers write at either end of a file."""
    return (
        GENERATED.search(text[:GENERATED_WINDOW]) is not None or GENERATED.search(text[-GENERATED_WINDOW:]) is not None
    )


def is_table(text: str) -> bool:
    """Long encoded data, mostly digits, or mostly repeated lines."""
    if ENCODED.search(text):
        return True
    solid = len(text) * (1 - whitespace_share(text))
    if sum(text.count(digit) for digit in "0123456789") > MAX_DIGIT_SHARE * solid:
        return True
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return len(lines) >= MIN_LINES_FOR_DISTINCT and len(set(lines)) < MIN_DISTINCT_LINE_SHARE * len(lines)


def text_refusal(text: str, language: Language) -> str | None:
    """Why a decoded text is refused: 'short', 'long', 'minified', 'generated', 'transpiled', 'table', or None."""
    size = len(text.encode("utf-8"))
    if size < MIN_BYTES:
        return "short"
    if size > MAX_BYTES:
        return "long"
    if is_minified(text, language):
        return "minified"
    if is_generated(text):
        return "generated"
    if language != "markdown" and TRANSPILED.search(text):
        return "transpiled"
    return "table" if is_table(text) else None
