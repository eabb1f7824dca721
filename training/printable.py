"""Text of records and files on a terminal: a control character is shown, never sent."""

import re
import sys
from collections.abc import Iterable

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    r"""Give the text with each control character as JSON writes it, such as `\u001b`."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def warn(sentences: Iterable[str]) -> None:
    """Tell a user what is not wrong for sure, but should be known; on stderr, a line each."""
    for sentence in sentences:
        print(f"warning: {printable(sentence)}", file=sys.stderr)
