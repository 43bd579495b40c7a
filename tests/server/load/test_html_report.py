"""The HTML report of synthetic runs: it is well formed, fetches nothing and escapes what a server says."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from server.audio.framing import FRAME_S
from server.load import chart
from server.load.figures import summary
from server.load.html_report import write_html
from server.load.series import over_time
from tests.server.load.records import record

HOSTILE = '</p><script>alert(1)</script><img src="https://elsewhere/x">'
VOID = {"meta", "path", "rect", "circle", "img", "link", "br"}


class Page(HTMLParser):
    """Fails when an element is not closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def run(callers: list[int], turnaround_s: float = 0.03, **more: Any) -> dict[str, Any]:
    """The results of a run of these load steps, two seconds each; n callers have n times the turnaround."""
    steps, calls = [], []
    for number, n in enumerate(callers):
        from_s = 2.0 * number
        sent_at = 100 + from_s + np.arange(25) * FRAME_S
        made = [record(sent_at + 0.01 * k, turnaround_s=turnaround_s * n, caller=k) for k in range(n)]
        times = {"callers": n, "from_s": from_s, "to_s": from_s + 2}
        steps.append({**summary(made, max_lag=0), **times, "passed": turnaround_s * n < 0.08, "server": None})
        calls += made
    return {
        **summary(calls, max_lag=0),
        "url": "ws://here/api/chat",
        "form": "ogg",
        "seconds": "2",
        "think_s": "0",
        "processes": 1,
        "made_at": "2026-11-22T12:00:00+00:00",
        "steps": steps,
        "over_time": over_time(calls, 100, 100 + 2.0 * len(callers)),
        "search": None,
        **more,
    }


def report(figures: dict[str, Any], other: dict[str, Any] | None = None) -> str:
    file = io.StringIO()
    write_html(file, figures, other)
    html = file.getvalue()
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", html)
    assert not re.search(r"https?://|url\(|@import", html)  # nothing to fetch
    return html


def test_a_simple_run_has_plots_and_no_table() -> None:
    html = report(run([4], turnaround_s=0.015))
    page = Page(html)
    assert page.tags.count("svg") == 3
    assert "table" not in page.tags
    assert "4 callers, 60 ms at p99" in html
    assert "before" not in html.partition("<body>")[2]


def test_a_ramp_has_a_plot_by_callers_a_table_and_a_verdict() -> None:
    found = {"target": "p99 ≤ 80 ms", "callers": 2, "failed_at": 4, "bottleneck": "the model"}
    html = report(run([1, 2, 4], search=found))
    page = Page(html)
    assert page.tags.count("svg") == 4
    assert page.tags.count("tr") == 4
    assert "Sustains 2 callers" in html
    assert "Bottleneck at 4 callers: the model." in html
    assert html.count('class="missed"') == 1


SERVER = {"step_ms": {"p50": 7.0, "p99": 9.0}, "loop_lag_ms": {"p50": 0.5, "p99": 3.0}, "cpu_share": 0.42}


def test_server_figures_are_shown_where_they_belong_to_one_load_step() -> None:
    alone = run([4])
    alone["steps"][0]["server"] = SERVER
    alone["over_time"] = [row | {"step_p50_ms": 7.0} for row in alone["over_time"]]
    html = report(alone, run([4]))
    Page(html)
    assert "<dt>model step, p99</dt><dd>9 ms</dd>" in html
    assert "<dt>server CPU</dt><dd>42%</dd>" in html
    assert html.count('class="curve step"') == 1
    ramp = run([1, 2])
    for step in ramp["steps"]:
        step["server"] = SERVER
    html = report(ramp)
    assert "<h1>Up to 2 callers, " in html
    assert "event loop lag, p99" not in html  # of which load step?
    assert html.count('class="curve step"') == 1 and html.count('circle class="step"') == 2


def test_an_earlier_run_is_shown_beside_it() -> None:
    html = report(run([1, 2, 4]), run([1, 4], turnaround_s=0.05))
    Page(html)
    assert html.count('class="curve other"') == 2
    assert "<small>before 200 ms</small>" in html
    assert "<th>p99 before</th>" in html and "<td>50.0</td>" in html
    assert "<td>-</td>" in html  # the earlier run had no load step of two callers


def test_a_much_slower_earlier_run_stays_within_the_plot() -> None:
    other = run([1, 2], turnaround_s=5)
    other["over_time"] = [row | {"turnaround_p99_ms": 5e3} for row in other["over_time"]]
    html = report(run([1, 2]), other)
    curves = re.findall(r'class="curve other" d="([^"]+)"', html)
    assert len(curves) == 2
    heights = [float(y) for curve in curves for y in re.findall(r"[ML][\d.-]+ ([\d.-]+)", curve)]
    assert min(heights) > 0 and max(heights) < chart.HEIGHT


def test_what_a_server_says_is_escaped() -> None:
    figures = run([1], failures={HOSTILE: 1}, failed=1, url=f"ws://here/{HOSTILE}", with_faults=summary([]))
    file = io.StringIO()
    write_html(file, figures)
    tags = Page(file.getvalue()).tags
    assert "script" not in tags
    assert "img" not in tags


@pytest.mark.parametrize(
    ("failed_at", "said"),
    [(1, "Does not sustain 1 caller"), (8, "Does not sustain 8 callers"), (None, "No load step was completed")],
)
def test_a_search_that_found_nothing_says_what_was_tried(failed_at: int | None, said: str) -> None:
    found = {"target": "p99 ≤ 80 ms", "callers": 0, "failed_at": failed_at, "bottleneck": failed_at and "the slots"}
    html = report({**run([failed_at or 1]), "search": found})
    assert f"<h1>{said}</h1>" in html
    assert ("Fewer callers were not tried." in html) is (failed_at == 8)
    assert "More callers were not tried." not in html


def test_a_run_interrupted_before_its_first_load_step() -> None:
    html = report({**run([3]), "steps": []})
    assert "<h1>3 callers, 90 ms at p99</h1>" in html


@pytest.mark.parametrize("other", [None, run([2])])
def test_a_run_without_a_single_answer(other: dict[str, Any] | None) -> None:
    rows = over_time([], 100, 101)
    assert rows[0]["turnaround_p50_ms"] is None
    Page(report({**run([1]), **summary([]), "over_time": rows}, other))
