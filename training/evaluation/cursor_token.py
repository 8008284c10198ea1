"""The token at the cursor: it is removed from the prompt, and completed by tokens that agree with its characters.

The model has not been trained on prompts that end within a token: after `cons` it has only seen the continuation of a
whole word. So tokens are removed from the end of the prompt, up to the earliest place where the removed bytes can be
the start of one token. The first slots then take only tokens that agree with these bytes: a token that starts with all
remaining bytes, or a token that the remaining bytes start with; the rest then constrains the next slot. Exact: every
continuation is possible.
"""

from bisect import bisect_left, bisect_right
from functools import cached_property

from tokenizers import Tokenizer

from training.model.tokenizer import token_bytes

SUFFIX_START_BYTES = 8  # of the suffix, that a token is compared with: few tokens are longer


class TokenTable:
    """Text tokens by their bytes."""

    def __init__(self, tokenizer: Tokenizer):
        self.bytes = token_bytes(tokenizer)
        self.entries = sorted((content, id_) for id_, content in enumerate(self.bytes) if content)

    @cached_property
    def keys(self) -> list[bytes]:
        return [content for content, _ in self.entries]

    @cached_property
    def longest(self) -> int:
        return max(map(len, self.keys))

    def goes_on(self, begun: bytes) -> bool:
        """Whether a token begins with these bytes and has more."""
        after = bisect_right(self.keys, begun)
        return after < len(self.keys) and self.keys[after].startswith(begun)

    def agreeing(self, begun: bytes) -> list[int]:
        """Tokens that begin with all of these bytes, and those that these bytes begin with."""
        found = []
        for length in range(1, len(begun) + 1):
            first = bisect_left(self.keys, begun[:length])
            last = bisect_right(self.keys, begun[:length])
            found += [id_ for _, id_ in self.entries[first:last]]
        while last < len(self.keys) and self.keys[last].startswith(begun):
            found.append(self.entries[last][1])
            last += 1
        return found

    def suffix_start(self, ids: list[int]) -> list[int]:
        """Tokens that a text of these tokens can begin with."""
        text = b"".join(self.bytes[id_] or b"" for id_ in ids[:SUFFIX_START_BYTES])
        return self.agreeing(text[:SUFFIX_START_BYTES])

    def take_off(self, ids: list[int]) -> tuple[list[int], bytes]:
        """Tokens of a prompt, the marker first → those that stay, and the bytes of the others. The marker and the token
        after it stay."""
        tail, tokens = b"", 0
        while len(ids) - tokens > 2 and self.bytes[ids[-1 - tokens]] is not None and len(tail) < self.longest:
            tokens += 1
            tail = self.bytes[ids[-tokens]] + tail
        begin = next((at for at in range(len(tail)) if self.goes_on(tail[at:])), len(tail))
        kept = len(ids) - tokens
        while kept < len(ids) and begin >= len(self.bytes[ids[kept]]):
            begin -= len(self.bytes[ids[kept]])
            tail = tail[len(self.bytes[ids[kept]]) :]
            kept += 1
        # whole characters: the half before would be no text
        while tail and tail[0] & 0xC0 == 0x80 and kept > 2 and self.bytes[ids[kept - 1]] is not None:
            kept -= 1
            tail = self.bytes[ids[kept]] + tail
        return ids[:kept], tail

    def left_over(self, begun: bytes, ids: list[int]) -> bytes:
        """The bytes that the tokens have not written yet."""
        for id_ in ids:
            if not begun:
                break
            begun = begun[len(self.bytes[id_]) :]
        return begun

    def text(self, ids: list[int], begun: bytes = b"") -> str:
        """The text of the tokens after the bytes that the cursor's token had already."""
        said = b"".join(self.bytes[id_] or b"" for id_ in ids)
        return said[len(begun) :].decode("utf-8", errors="replace")

    def silent(self, ids: list[int], begun: bytes) -> int:
        """How many of the first tokens add nothing after these bytes."""
        said = 0
        for count, id_ in enumerate(ids):
            said += len(self.bytes[id_])
            if said > len(begun):
                return count
        return len(ids)
