from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from setpoint.server.ui.markdown import render


@given(st.text())
def test_no_text_becomes_an_element_that_runs(text: str) -> None:
    html = render(f"{text}\n\n<script>alert(1)</script>\n[x](javascript:alert(1))")
    assert "<script" not in html
    assert 'href="javascript' not in html.lower()


def test_headings_stand_below_the_page_s_own() -> None:
    assert "<h2>A</h2>" in render("# A\n\n## B")
    assert "<h3>B</h3>" in render("# A\n\n## B")
    assert "<h2>B</h2>" in render("## B")


def test_blocks_are_drawn_and_other_code_is_code() -> None:
    text = "```chart\na < b\n```\n\n```python\na < b\n```"
    html = render(text, {"chart": lambda said: Markup("[{}]").format(len(said))})
    assert "[6]" in html
    assert "a &lt; b" in html


def test_an_image_is_led_elsewhere() -> None:
    assert 'src="data:x"' in render("![alt](/runs/a/files/b.png)", image=lambda _: "data:x")
