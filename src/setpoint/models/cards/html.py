"""A card as one HTML file that needs nothing else."""

import html

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;
color:#1a1d21;background:#fff}
h1,h2{line-height:1.2}h2{margin-top:2rem;font-size:1.2rem}
table{border-collapse:collapse;display:block;overflow-x:auto}
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #d8dce1}
code{font:.9em ui-monospace,monospace;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#15181c}
th,td{border-color:#343a41}}
"""


def page(markdown: str, title: str) -> str:
    """Return a whole HTML document of a text in Markdown; HTML in the text is shown as text."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - starting need not wait for it

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{parser.render(markdown)}</body>\n</html>\n"
    )
