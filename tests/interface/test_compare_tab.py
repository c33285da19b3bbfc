"""The tab of finished runs: its rankings, its figures with their words, and what it says without any."""

import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest
from test_saved_runs import LEAKY, SPLIT, run_on

from ser_transfer.interface.compare_tab import leaderboard, run_detail
from ser_transfer.interface.saved_runs import LEAKED, find_runs
from ser_transfer.runs import save_run


def parsed(html):
    return ElementTree.fromstring(f"<div>{html}</div>")


def texts(element):
    return " ".join("".join(element.itertext()).split())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two honest runs, what the first scored under a split that leaks, and a damaged one."""
    root = tmp_path_factory.mktemp("outputs")
    run = replace(run_on(SPLIT, "net", strength=1.0), leak=run_on(LEAKY, "net", strength=4.0))
    save_run(run, root / "first", {}, plots=False)
    save_run(run_on(SPLIT, "<b>other</b>", strength=2.0, seed=1), root / "second", {}, plots=False)
    (root / "broken").mkdir()
    (root / "broken" / "metrics.json").write_text("{")
    return root


@pytest.fixture(scope="module")
def found(root):
    return find_runs(root)


def test_every_ranking_is_a_table_and_the_honest_come_before_the_warned(found):
    page = parsed(leaderboard(found))
    first, second = page.findall(".//table")
    assert len(first.findall(".//tbody/tr")) == 4  # two systems, and the baseline and the floor they share
    assert len(second.findall(".//tbody/tr")) == 3
    html = leaderboard(found)
    warned = html.index("NOT SPEAKER-INDEPENDENT")
    assert html.index("<table") < html.index("Not to be compared with the above") < warned
    assert warned < html.rindex("<table")
    assert html.count("NOT SPEAKER-INDEPENDENT") == 1


def test_names_of_systems_are_text_and_nothing_else(found):
    page = parsed(leaderboard(found))
    assert not page.findall(".//b")
    assert "<b>other</b>" in texts(page)


def test_a_run_that_cannot_be_shown_is_listed_with_the_reason(found):
    assert "broken: metrics.json cannot be read (JSONDecodeError): run it again" in unescape(
        leaderboard(found)
    )


def test_the_detail_has_the_systems_figures_beside_the_baselines_each_with_words(found):
    run = found.runs["first"]
    system = run.systems[0]
    page = parsed(run_detail(run, system))
    alts = [image.get("alt") for image in page.iter("img")]
    kinds = ("Confusion matrix", "Precision, recall and F1", "Reliability")
    for name in ("net", "mfcc"):
        for kind in kinds:
            assert sum(bool(re.match(rf"{kind} of {name}\b", alt)) for alt in alts) == 1
    assert len(alts) == 2 * len(kinds) + 1
    assert any(alt.startswith("UAR by layer. net: best layer_00 at 1.000") for alt in alts)


def test_recall_by_emotion_is_told_as_a_table_with_the_difference(found):
    run = found.runs["first"]
    system, baseline = run.systems[0], run.baseline
    rows = [
        ["".join(cell.itertext()) for cell in row]
        for row in parsed(run_detail(run, system)).find(".//table").findall(".//tr")
    ]
    assert rows[0] == ["emotion", "net", "mfcc", "difference"]
    for emotion, ours, theirs, difference in rows[1:]:
        recall, other = (each.recall_by_emotion()[emotion] for each in (system, baseline))
        assert (ours, theirs) == (f"{recall:.2f}", f"{other:.2f}")
        assert difference == f"{recall - other:+.2f}"


def test_the_detail_of_a_warned_run_says_so_on_the_page_and_in_every_figure(found, monkeypatch):
    from ser_transfer import plots

    titles = []
    for name in ("confusion_figure", "per_class_figure", "layer_figure", "reliability_figure"):
        drawn = getattr(plots, name)

        def recorded(*given, _drawn=drawn, **settings):
            titles.extend(each for each in given if isinstance(each, str))
            return _drawn(*given, **settings)

        monkeypatch.setattr(plots, name, recorded)
    run = found.runs["first" + LEAKED]
    html = run_detail(run, run.systems[0])
    assert 'role="note">NOT SPEAKER-INDEPENDENT: random folds' in html
    assert len(titles) == 7
    assert all("NOT SPEAKER-INDEPENDENT" in title for title in titles)


def test_the_baseline_by_itself_stands_beside_nothing(found):
    run = found.runs["first"]
    alts = [image.get("alt") for image in parsed(run_detail(run, run.baseline)).iter("img")]
    assert sum(alt.startswith("Confusion matrix") for alt in alts) == 1


def page_of(folder):
    gradio = pytest.importorskip("gradio")
    from ser_transfer.interface.compare_tab import compare_tab

    with gradio.Blocks(analytics_enabled=False) as page:
        compare_tab(folder)
    return page


def functions_of(page):
    return {event.fn.__name__: event.fn for event in page.fns.values() if event.fn is not None}


def said(page):
    return [
        block.value
        for block in page.blocks.values()
        if isinstance(getattr(block, "value", None), str) and getattr(block, "visible", True)
    ]


def test_without_a_folder_and_without_a_run_the_tab_says_what_to_type(tmp_path):
    assert any("--runs outputs/" in text for text in said(page_of(None)))
    assert any("python -m ser_transfer.quickstart" in text for text in said(page_of(tmp_path)))
    assert any("python -m ser_transfer.quickstart" in text for text in said(page_of(tmp_path / "nowhere")))


def test_a_run_that_finishes_while_the_page_is_open_is_found_by_looking_again(tmp_path):
    page = page_of(tmp_path)
    save_run(run_on(SPLIT), tmp_path / "late", {}, plots=False)
    empty, board, one_run, runs = functions_of(page)["look"]()
    assert (empty.visible, one_run.visible) == (False, True)
    assert "net" in board
    assert [name for _, name in runs.choices] == ["late"]


def test_choosing_a_run_lists_its_systems_the_best_first_and_each_can_be_drawn(root):
    functions = functions_of(page_of(root))
    systems, _ = functions["choose"]("first")
    (best, key), (other, other_key) = systems.choices
    assert (best, other) == ("net", "mfcc")
    assert systems.value == key
    assert "net in first" in functions["show"](key)
    assert "mfcc in first" in functions["show"](other_key)
    # Or a choice of another run whose best system has the same name would draw nothing.
    assert functions["choose"]("first" + LEAKED)[0].value != key


@pytest.mark.parametrize("name", [None, "gone", "../first", "/etc", "first\nnothing", "\n"])
def test_a_run_that_is_not_there_is_no_error_and_no_path(name, root):
    functions = functions_of(page_of(root))
    systems, detail = functions["choose"](name)
    assert systems.value is None
    assert "hoose" in detail
    assert "hoose" in functions["show"](name)


def test_the_page_gives_the_leaderboard_over_its_api(root):
    from gradio_client import Client

    page = page_of(root)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True)
    try:
        rows = Client(url, verbose=False).predict(api_name="/leaderboard")
    finally:
        page.close()
    assert rows[0]["system"] == "<b>other</b>"
    assert not rows[0]["warnings"]
    warned = [row for row in rows if row["warnings"]]
    assert len(warned) == 3
    assert all(row["warnings"] == ["NOT SPEAKER-INDEPENDENT: random folds"] for row in warned)
    best = find_runs(root).runs["second"].systems[0]
    assert rows[0]["uar"] == best.scores.uar
    assert rows[0]["p_value"] == best.above.p_value
    assert rows[0]["runs"] == ["second"]
