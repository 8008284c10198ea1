"""Which characters the `tokenizers` library takes for letters, marks and numbers, for src/tokenizer.

    python -m training.export.unicode_classes            # writes src/tokenizer/unicode-classes.ts
    python -m training.export.unicode_classes --check    # is it what the library does today?

The library has the Unicode tables of two versions (Oniguruma's in patterns, Rust's in Digits), a JavaScript engine
those of a third. A character that is newer than one of them would be cut differently, so the runtime brings the
library's.
"""

import argparse
import sys
from pathlib import Path

from tokenizers import Regex, pre_tokenizers

TARGET = Path("src/tokenizer/unicode-classes.ts")
LINE = 112  # characters of a line of ranges
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]

CLASSES = {
    "LETTERS": ("`\\p{L}` of a pattern", pre_tokenizers.Split(Regex(r"\p{L}"), "isolated")),
    "MARKS": ("`\\p{M}` of a pattern", pre_tokenizers.Split(Regex(r"\p{M}"), "isolated")),
    "NUMBERS": ("`\\p{N}` of a pattern", pre_tokenizers.Split(Regex(r"\p{N}"), "isolated")),
    "NUMERIC": ("what the pre-tokenizer Digits isolates", pre_tokenizers.Digits(individual_digits=True)),
}

HEAD = """/**
 * Characters of some Unicode classes as `tokenizers` {version} has them: members of a class of a regular expression.
 * Written by `python -m training.export.unicode_classes`.
 */

/** Ranges as numbers in base 36, two each: how many characters are left out before it, and one less than it has. */
function members(ranges: string): string {{
  const numbers = ranges.trim().split(/\\s+/);
  let code = -1;
  let members = '';
  for (let i = 0; i < numbers.length; i += 2) {{
    const first = code + 1 + Number.parseInt(numbers[i]!, 36);
    code = first + Number.parseInt(numbers[i + 1]!, 36);
    members += `\\\\u{{${{first.toString(16)}}}}-\\\\u{{${{code.toString(16)}}}}`;
  }}
  return members;
}}
"""


def ranges(pre_tokenizer) -> list[tuple[int, int]]:
    """First and last code points of the runs of characters that the pre-tokenizer cuts out from between others."""
    # each character between two that are in no class, so that no run is cut by chance
    pieces = {piece for piece, _ in pre_tokenizer.pre_tokenize_str("!" + "!".join(CHARACTERS) + "!")}
    found: list[list[int]] = []
    for character in CHARACTERS:
        if character not in pieces or character == "!":
            continue
        code = ord(character)
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return [(first, last) for first, last in found]


def base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        if not number:
            return digits


def source() -> str:
    """The file's text."""
    import tokenizers

    parts = [HEAD.format(version=tokenizers.__version__.rsplit(".", 1)[0])]
    for name, (meaning, pre_tokenizer) in CLASSES.items():
        lines, line, after = [], "", 0
        for first, last in ranges(pre_tokenizer):
            pair = f"{base36(first - after)} {base36(last - first)}"
            after = last + 1
            if len(line) + len(pair) >= LINE:
                lines.append(line)
                line = ""
            line += pair if not line else f" {pair}"
        body = "\n".join([*lines, line])
        parts.append(f"/** {meaning[0].upper()}{meaning[1:]}. */\nexport const {name} = members(`\n{body}\n`);\n")
    return "\n".join(parts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        fresh = TARGET.read_text() == source()
        print(f"{TARGET} is {'fresh' if fresh else 'not what the library says'}")
        sys.exit(not fresh)
    TARGET.write_text(source())
