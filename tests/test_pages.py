import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from ser_transfer.pages import Page, PageError

NASTY = "<script>alert('x')</script> & \"q\" ' </style> ]]>"


def parsed(page):
    """The page as a tree: it is written as well-formed XML, so that an XML parser checks its nesting."""
    doctype, _, text = page.html().partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(text)


def text_of(element):
    return "".join(element.itertext())


def a_figure(label="UAR", n_points=3):
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    axes.plot(np.random.default_rng(0).random(n_points), np.random.default_rng(1).random(n_points), "o")
    axes.fill_between([0, 1], [0, 1], hatch="/")  # clip paths and patterns: ids in an SVG
    axes.set_xlabel(label)
    return figure


def content_of(uri):
    kind, _, content = uri.partition(";base64,")
    return kind, base64.b64decode(content, validate=True)


@pytest.fixture
def full():
    page = Page("RAVDESS", "Six folds.\n\nNo speaker on both sides.")
    page.section("Scores", "UAR first.")
    page.table([("system", "UAR"), ("yamnet", "0.610"), ("mfcc", "0.440")], "Table 1", emphasised={0})
    page.figure(a_figure(), "Figure 1", "yamnet is better")
    page.warning("NOT SPEAKER-INDEPENDENT: 5 folds at random")
    page.section("Sounds")
    page.audio(np.zeros(160), 16_000, "silence")
    page.list(["one", "two"])
    page.figure(a_figure("WA"), "", "the same in WA")
    page.text("The end.")
    return page


def test_elements_stand_in_the_order_they_were_added_each_in_its_section(full):
    first, second = parsed(full).findall(".//main/section")
    assert [child.tag for child in first] == ["h2", "p", "div", "figure"]
    assert [child.tag for child in second] == ["h2", "figure", "ul", "figure", "p"]


def test_the_contents_link_to_every_section(full):
    root = parsed(full)
    links = {link.get("href"): link.text for link in root.findall(".//nav//a")}
    headings = {f"#{heading.get('id')}": heading.text for heading in root.iter("h2")}
    assert links == headings == {"#section-1": "Scores", "#section-2": "Sounds"}


def test_a_page_of_one_section_has_no_contents():
    page = Page("t")
    page.section("only")
    assert parsed(page).find(".//nav") is None


def test_a_warning_stands_above_everything_whenever_it_came(full):
    header = parsed(full).find(".//header")
    assert [child.tag for child in header] == ["h1", "p", "p", "p"]
    assert header[1].get("class") == "warning"
    assert text_of(header[1]).startswith("NOT SPEAKER-INDEPENDENT")


def test_no_id_occurs_twice_however_many_figures(full):
    ids = re.findall(r'\bid="([^"]*)"', full.html())
    assert len(ids) == len(set(ids)) == 2


def test_nothing_is_loaded_from_anywhere(full):
    html = full.html()
    assert "script" not in html
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", html))
    sources = [element.get("src") or element.get("href") for element in parsed(full).iter()]
    assert all(source.startswith(("data:", "#")) for source in sources if source is not None)
    policy = parsed(full).find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert "default-src 'none'" in policy


def test_text_from_outside_stays_text_wherever_it_goes():
    page = Page(NASTY, NASTY)
    page.warning(NASTY)
    page.section(NASTY, NASTY)
    page.section(NASTY)
    page.text(NASTY)
    page.list([NASTY])
    page.table([(NASTY, NASTY), (NASTY, NASTY)], NASTY)
    page.figure(a_figure(), NASTY, NASTY)
    page.audio(np.zeros(160), 16_000, NASTY)
    root = parsed(page)
    assert root.find(".//script") is None
    assert {
        text_of(root.find(f".//{tag}")) for tag in ("title", "h1", "h2", "a", "li/a", "caption", "td")
    } == {NASTY}
    assert root.find(".//img").get("alt") == root.find(".//audio").get("aria-label") == NASTY
    assert [text_of(note) for note in root.iter("figcaption")] == [NASTY, NASTY]


@pytest.mark.parametrize(
    ("cells", "is_number"),
    [
        (["0.610", "n/a", "1"], True),
        (["0.557 to 0.661", "–"], True),
        (["+0.12", "-0.03", "−0.1"], True),
        (["< 0.001", "0.04"], True),
        (["3.2 s", "75 %", "24 speakers", "1,440"], True),
        (["1e-05"], True),
        (["03-01-01-01"], False),
        (["0.6", "yamnet"], False),
        (["n/a", "–"], False),
        ([], False),
    ],
)
def test_columns_of_numbers_and_no_others_are_aligned_to_the_right(cells, is_number):
    page = Page("t")
    page.table([("system", "x"), *(("yamnet", cell) for cell in cells)])
    root = parsed(page)
    aligned = [cell.get("class") for cell in (root.findall(".//th[2]") + root.findall(".//td"))]
    assert aligned == ["number" if is_number else None] * (1 + len(cells))
    assert root.find(".//th").get("class") is None


def test_the_header_names_columns_the_first_cell_names_its_row_and_chosen_rows_stand_out(full):
    root = parsed(full)
    assert [(cell.text, cell.get("scope")) for cell in root.iter("th")] == [
        ("system", "col"),
        ("UAR", "col"),
        ("yamnet", "row"),
        ("mfcc", "row"),
    ]
    assert [row.get("class") for row in root.findall(".//tbody/tr")] == ["emphasised", None]


def test_a_figure_is_the_svg_it_was_drawn_as_with_its_alt_text(full):
    image = parsed(full).find(".//img")
    kind, content = content_of(image.get("src"))
    assert kind == "data:image/svg+xml"
    assert ElementTree.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"
    assert (image.get("alt"), image.get("width")) == ("yamnet is better", "384")


def test_a_figure_of_very_many_marks_becomes_pixels():
    page = Page("t")
    page.figure(a_figure(n_points=20_000), "", "a cloud")
    kind, content = content_of(parsed(page).find(".//img").get("src"))
    assert kind == "data:image/png"
    assert content.startswith(b"\x89PNG")
    assert len(content) < 400_000


def test_the_sound_in_the_page_is_the_sound_that_was_given():
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, 4000).astype(np.float32)
    samples[:2] = 1.7, -1.7
    page = Page("t")
    page.audio(samples, 22_050, "noise")
    kind, content = content_of(parsed(page).find(".//audio").get("src"))
    heard, rate = soundfile.read(io.BytesIO(content))
    assert (kind, rate) == ("data:audio/flac", 22_050)
    assert np.abs(heard - np.clip(samples, -1, 1)).max() < 1e-4


def test_an_empty_line_parts_paragraphs_and_nothing_makes_none():
    page = Page("t")
    page.text("one\nstill one\n\n  \ntwo\n")
    page.text("")
    assert [text_of(p) for p in parsed(page).findall(".//main/p")] == ["one\nstill one", "two"]


@pytest.mark.parametrize(
    ("add", "complaint"),
    [
        (lambda page: page.figure(a_figure(), "caption", "  "), "alt text"),
        (lambda page: page.table([]), "a header with one column"),
        (lambda page: page.table([("a", "b"), ("1",)]), "2 columns, and a row of 1: 1"),
        (lambda page: page.table([("a",), ("1",)], emphasised={1}), "row 1 .* has 1 rows"),
        (lambda page: page.list([]), "one item"),
        (lambda page: page.audio(np.zeros((2, 100)), 16_000, "x"), r"one channel .*\(2, 100\)"),
        (lambda page: page.audio(np.zeros(0), 16_000, "x"), r"one channel .*\(0,\)"),
        (lambda page: page.audio(np.array([0.0, np.nan]), 16_000, "x"), "1 samples .* not finite"),
        (lambda page: page.audio(np.zeros(10), 0, "x"), "no FLAC has 0 samples per second"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_leaves_the_page_as_it_was(add, complaint):
    page = Page("t")
    before = page.html()
    with pytest.raises(PageError, match=complaint):
        add(page)
    assert page.html() == before


def test_a_saved_page_is_read_back_as_written_in_a_folder_that_is_made(full, tmp_path):
    path = tmp_path / "new" / "report.html"
    full.save(path)
    assert path.read_text(encoding="utf-8") == full.html()


def test_a_page_that_cannot_be_written_says_where(full, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PageError, match=r"cannot write the page to .*report\.html"):
        full.save(tmp_path / "file" / "report.html")
