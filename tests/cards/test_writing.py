import pytest
from markdown_it import MarkdownIt

from ser_transfer.cards.writing import escaped, fenced, listed, plain, table

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")

NASTY = (
    "RAVDESS",
    "x | <script>alert(1)</script> ](javascript:1) \n---\nlicense: mit",
    "*bold* _under_ __strong__ `code` ~~gone~~",
    "![image](x.png) [link](https://x) <https://x>",
    "&lt;b&gt; &#60; &amp; A & B",
    "\\| \\` \\\\( x \\\\) $$x$$ \\",
    "# heading",
    "- item\r\n> quote\u2028next\x00\x1b[31mred",
    "right\u202eto left\u2066",
    "a_b_c crema_d _x",
    "<!-- comment -->",
    "ß 日本語 \ud800 émotion",
    "|" * 20,
)


def text_of(tokens):
    """The text a reader sees, by markdown-it's own tree; any element but text is named."""
    found = []
    for token in tokens:
        if token.children is not None:
            found += text_of(token.children)
        elif token.type in ("text", "text_special"):
            found.append(token.content)
        elif not token.type.startswith(("paragraph", "table", "thead", "tbody", "tr", "th", "td")):
            found.append(f"[{token.type}]")
    return found


@pytest.mark.parametrize("text", NASTY)
def test_a_reader_sees_the_very_words_and_no_markup(text):
    assert "".join(text_of(MARKDOWN.parse(f"a {escaped(text)} z"))) == f"a {plain(text)} z"


@pytest.mark.parametrize("text", NASTY)
def test_words_stay_in_their_cell(text):
    tokens = MARKDOWN.parse(table(("name", "n"), [(escaped(text), "7"), ("b", "8")]))
    cells = [tokens[i + 1].children for i, token in enumerate(tokens) if token.type == "td_open"]
    assert ["".join(text_of(cell)) for cell in cells] == [plain(text), "7", "b", "8"]


@pytest.mark.parametrize("text", NASTY)
def test_nothing_ends_a_fenced_block_but_its_end(text):
    tokens = MARKDOWN.parse(fenced([plain(text), "```", "last"]) + "\n\nafter")
    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]
    assert tokens[0].content.splitlines()[-1] == "last"


def test_one_line_of_printable_characters_is_left():
    assert plain(" two\n\nlines\tof \x07 bells ") == "two lines of bells"
    assert plain("x" * 1000) == "x" * 159 + "…"
    assert plain("می\u200cخواهم") == "می\u200cخواهم"  # the joiner belongs to the word
    plain("\ud800").encode("utf-8")


def test_a_list_is_read_as_a_sentence():
    assert [listed(("a",)), listed(("a", "b")), listed(("a", "b", "c"))] == ["a", "a and b", "a, b and c"]
