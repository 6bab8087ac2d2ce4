"""Markdown that people write, as HTML that is safe to show."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from setpoint.comments.rules import pieces

if TYPE_CHECKING:
    from markdown_it.token import Token

#: Draws a block of its own language, e.g. a chart, from what stands in it.
Block = Callable[[str], Markup]


def render(
    text: str,
    blocks: Mapping[str, Block] | None = None,
    image: Callable[[str], str] | None = None,
    person: Callable[[str], str] | None = None,
) -> Markup:
    """Return a text as HTML. HTML in it is shown as text; links run no scripts.

    Args:
        text: Markdown: CommonMark with tables and strikethrough.
        blocks: What draws fenced blocks, by their language; others are code.
        image: What turns an image's address into another one.
        person: The address of somebody's page: then ``@name`` leads there.
    """
    from markdown_it import MarkdownIt  # noqa: PLC0415 - starting need not wait for it

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    known = dict(blocks or {})

    def fence(tokens: "Sequence[Token]", index: int, options: Any, env: Any) -> str:
        drawn = known.get(tokens[index].info.strip())
        if drawn is None:
            usual: str = parser.renderer.fence(tokens, index, options, env)  # type: ignore[attr-defined]
            return usual
        return str(drawn(tokens[index].content))

    parser.renderer.rules["fence"] = fence  # type: ignore[attr-defined]
    tokens = parser.parse(text)
    levels = [int(token.tag[1]) for token in tokens if token.type == "heading_open"]
    down = 2 - min(levels, default=2)  # the text's own highest heading stands below the page's
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(int(token.tag[1]) + down, 6)}"
        for child in token.children or ():
            if child.type == "image" and image is not None:
                child.attrSet("src", image(str(child.attrGet("src"))))
        if token.children and person is not None:
            token.children = list(_mentioning(token.children, person))
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - escaped by it


def _mentioning(children: "Sequence[Token]", person: Callable[[str], str]) -> "Iterator[Token]":
    """Yield what a line is made of, with a link for each person it mentions outside of links."""
    from markdown_it.token import Token  # noqa: PLC0415

    inside = 0
    for child in children:
        inside += child.nesting if child.type.startswith("link_") else 0
        if child.type != "text" or inside:
            yield child
            continue
        for text, name in pieces(child.content):
            if name:
                yield Token("link_open", "a", 1, attrs={"href": person(name)})
            yield Token("text", "", 0, content=text)
            if name:
                yield Token("link_close", "a", -1)
