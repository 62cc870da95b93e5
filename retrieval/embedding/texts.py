"""What every runtime does to a text before its tokenizer sees it. Pure."""

from __future__ import annotations


def encodable(text: str) -> str:
    """The text with each lone surrogate replaced: it has no UTF-8, which tokenizers need."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
