"""What ships for Prometheus and Grafana looks at metrics that there are, and every alert says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from freshness import metrics
from freshness.metrics import Counter, Gauge, Histogram

ROOT = Path(__file__).parent.parent
_NAME = re.compile(r"\bfreshness_\w+")
_LABELS = re.compile(r"(freshness_\w+)\{([^}]*)\}")
_DURATION = re.compile(r"\d+[smhd]")

#: Labels that Prometheus adds by itself.
ADDED = {"instance", "job"}


def shown() -> dict[str, set[str]]:
    """Every sample that /metrics can show, with its labels."""
    names: dict[str, set[str]] = {}
    for each in (*metrics.GAUGES, *metrics.COUNTED):
        match each:
            case Gauge():
                names[each.name] = set(each.labels)
            case Counter():
                names[f"{each.name}_total"] = set(each.labels)
            case Histogram():
                names |= {f"{each.name}_{end}": set(each.labels) for end in ("count", "sum")}
                names[f"{each.name}_bucket"] = {*each.labels, "le"}
    return names


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((ROOT / "deploy/grafana/mlm-freshness.json").read_text()))


def questions() -> list[str]:
    """Every expression of alerts and dashboard."""
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())]
    asked += [each["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query"]
    return [rule["expr"] for rule in rules()] + asked


@pytest.mark.parametrize("question", questions())
def test_a_question_asks_for_metrics_and_labels_that_there_are(question: str) -> None:
    known = shown()
    assert set(_NAME.findall(question))
    assert set(_NAME.findall(question)) <= set(known)
    for name, selected in _LABELS.findall(question):
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected))
        assert asked <= known[name] | ADDED
    grouped = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", question) for label in by.split(",")}
    assert grouped <= {label for name in _NAME.findall(question) for label in known[name]} | ADDED
    assert question.count("(") == question.count(")")


def test_no_question_adds_up_what_every_receiver_answers_for_the_house() -> None:
    own = {metrics.UP.name, metrics.SPOOLED.name, metrics.SPOOL_WRITABLE.name}
    for question in questions():
        for name in set(_NAME.findall(question)) - own:
            bare = re.search(rf"sum(?: by \([^)]*\))? \(?\(?(?:rate\(|increase\()?{name}", question)
            assert bare is None


def test_every_label_value_that_a_question_names_is_one_that_there_is() -> None:
    words = {
        "part": {"postgresql", "redis"},
        "process": {"worker", "scheduler"},
        "concern": set(metrics.CONCERNS),
        "queue": {"prompt", "loan-sync", "loan-sync-assoc"},
        "state": {"waiting", "aside"},
    }
    named = [pair for question in questions() for pair in re.findall(r'(\w+)="([^"$]+)"', question)]
    assert {label for label, _ in named} >= set(words) - {"queue"}
    for label, value in named:
        assert label not in words or value in words[label]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert _DURATION.fullmatch(rule.get("for", "0m"))
    assert rule["annotations"]["summary"]
    path, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = re.split(r"^## ", (ROOT / path).read_text(), flags=re.M)
    (section,) = [each for each in sections if each.split("\n", 1)[0].lower() == anchor]
    assert section.startswith(rule["alert"])
    assert "**It means.**" in section
    assert "**What to do.**" in section


def test_no_alert_is_written_up_that_there_is_not() -> None:
    written = re.findall(r"^## (\w+)", (ROOT / "docs/alerts.md").read_text(), flags=re.M)
    assert written == [rule["alert"] for rule in rules()]


def test_the_documentation_lists_every_metric_as_it_is_declared() -> None:
    rows = []
    for each in (*metrics.GAUGES, *metrics.COUNTED):
        name = f"{each.name}_total" if isinstance(each, Counter) else each.name
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows.append(f"| `{name}` | {type(each).__name__.lower()} | {labels} | {each.help} |")
    text = (ROOT / "docs/metrics.md").read_text()
    listed = text.partition("<!-- metrics: begin -->")[2].partition("<!-- metrics: end -->")[0]
    assert listed.strip().splitlines()[2:] == rows


def test_panels_have_places_and_numbers_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert panel["title"]
