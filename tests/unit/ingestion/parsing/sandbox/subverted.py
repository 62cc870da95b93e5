"""A child that somebody took over: it keeps to the pipes, and to nothing else. Run in place of the real one.

What it does to an answer is named by the document.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import time

LENGTHS = struct.Struct(">QQ")
ANSWER = b'{"paths":[],"blocks":[1,0,4,0],"marks":[]}'


def framed(answer: bytes, text: bytes) -> bytes:
    return LENGTHS.pack(len(answer), len(text)) + answer + text


WELL = framed(ANSWER, b"well")
ANSWERS = {
    "well": WELL,
    "too much": LENGTHS.pack(2**63, 2**63) + b"x" * 2**20,
    "text too long": LENGTHS.pack(len(ANSWER), 2**21) + ANSWER,
    "more than said": WELL + b"{",
    "twice": WELL * 2,
    "lengths changed over": LENGTHS.pack(4, len(ANSWER)) + ANSWER + b"well",
    "no text": LENGTHS.pack(len(ANSWER), 0) + ANSWER,
    "no lengths": b"Traceback (most recent call last):\n",
    "noise": random.Random(1).randbytes(2**16),
    "deep": framed(b"[" * 2**19, b""),
    "half a letter": framed(ANSWER, b"wel\xff"),
    "half a pair": framed(ANSWER, b"w\xed\xa0\x80"),
    "a reason of many lines": framed(b'{"skipped":"a\\nb"}', b""),
}


def read(length: int) -> bytes:
    found = b""
    while len(found) < length:
        piece = os.read(0, length - len(found))
        if not piece:
            sys.exit(0)
        found += piece
    return found


def main() -> None:
    os.write(1, b"headwater")
    while True:
        of_name, of_body = LENGTHS.unpack(read(LENGTHS.size))
        asked = read(of_name + of_body)[of_name:].decode()
        if asked == "cut off":
            os.write(1, WELL[:20])
            sys.exit(0)
        if asked == "closed":
            os.close(1)
            time.sleep(3600)
        while asked == "without end":
            os.write(1, b"\0" * 2**16)
        while asked == "drop by drop":
            os.write(1, b"\0")
            time.sleep(0.05)
        answer = ANSWERS[asked]
        while answer:
            answer = answer[os.write(1, answer) :]


if __name__ == "__main__":
    main()
