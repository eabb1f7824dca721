"""Parts of the reports' pages, each of which is one self-contained HTML file."""

import base64
from collections.abc import Iterable
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1180px; margin: 2rem auto }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0 }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd }
th { text-align: left; font-weight: 600 }
td.number, th.number { text-align: right } td.number { white-space: nowrap }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr)); gap: 1.2rem }
figure { margin: 0 } img { width: 100% } figcaption, .note { color: #555; font-size: .9rem }
"""


def document(title: str, body: str) -> str:
    """Give a page: the title as its heading, and below it `body`, which is HTML."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{escape(title)}</h1>
{body}
</body></html>
"""


def note(text: str) -> str:
    """Give a paragraph in grey."""
    return f'<p class="note">{escape(text)}</p>'


def figures(shown: Iterable[tuple[str, bytes, str]]) -> str:
    """Lay plots out side by side: title, PNG and caption of each."""
    return f'<div class="plots">\n{"".join(_figure(*each) for each in shown)}</div>'


def _figure(title: str, picture: bytes, caption: str) -> str:
    encoded = base64.b64encode(picture).decode()
    return (
        f'<figure><h3>{escape(title)}</h3><img alt="{escape(title)}" src="data:image/png;base64,{encoded}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Render a table; # begins the heads of columns of numbers. Without heads, it has two columns of text."""
    heads = list(heads)
    kinds = ["", ""] if not heads else [' class="number"' if head.startswith("#") else "" for head in heads]

    def line(tag: str, cells: Iterable[str]) -> str:
        inner = "".join(
            f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True)
        )
        return f"<tr>{inner}</tr>\n"

    body = "".join(line("td", row) for row in rows)
    top = line("th", (head.removeprefix("#") for head in heads)) if heads else ""
    return f"<table>\n{top}{body}</table>"
