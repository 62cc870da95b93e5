"""How much a text is, where only the provider has the tokenizer. Pure.

Chunks are limited in characters. Tokens are estimated where a request must be kept within the provider's
limit, or where a price is foretold: a token per four bytes of UTF-8, as in English prose; other scripts
and code come to more tokens per character, and to more bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_BYTES_PER_TOKEN = 4
_BLANK = "."  # providers refuse a text without any character


def estimated_tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN)


def sendable(text: str, max_characters: int, prompt: str = "") -> str:
    """What is sent of a text: its beginning after the prompt, which counts, too.

    Lone surrogates are replaced, since JSON in UTF-8 has none.
    """
    shown = text[: max_characters - len(prompt)]
    return (prompt + (shown if shown.strip() else _BLANK)).encode("utf-8", "replace").decode()


def cut(texts: Sequence[str], *, most_texts: int, most_tokens: int) -> Iterator[list[str]]:
    """Requests within both limits, in order; a text beyond the second goes alone."""
    batch: list[str] = []
    tokens = 0
    for text in texts:
        size = estimated_tokens(text)
        if batch and (len(batch) >= most_texts or tokens + size > most_tokens):
            yield batch
            batch, tokens = [], 0
        batch.append(text)
        tokens += size
    if batch:
        yield batch
