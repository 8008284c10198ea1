"""Whether a source file has no syntax error: a measure of completions that needs no code to be run."""

from functools import cache

import tree_sitter_javascript
import tree_sitter_typescript
from tree_sitter import Language, Parser

# file name extension → grammar; JSX is allowed in JavaScript, as bundlers do
GRAMMARS = {
    **dict.fromkeys((".js", ".cjs", ".mjs", ".jsx"), tree_sitter_javascript.language),
    **dict.fromkeys((".ts", ".cts", ".mts"), tree_sitter_typescript.language_typescript),
    ".tsx": tree_sitter_typescript.language_tsx,
}


@cache
def _parser(extension: str) -> Parser:
    return Parser(Language(GRAMMARS[extension]()))


def has_grammar(extension: str) -> bool:
    return extension in GRAMMARS


def parses(text: str, extension: str) -> bool:
    """extension: of the file, as in '.ts'. Raises KeyError where there is no grammar for it."""
    return not _parser(extension).parse(text.encode("utf-8", "replace")).root_node.has_error
