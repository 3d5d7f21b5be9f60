"""What a history is made of, drawn from its seed: how long it is, what may happen in it, and how often."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from random import Random
from zoneinfo import ZoneInfo

from freshness.concerns import ALL, Concern

FEW = (Concern.LOAN_FIELDS, Concern.BORROWERS, Concern.ASSETS, Concern.CONDITIONS)

#: An ordinary noon, and twenty minutes before the hour that Los Angeles has twice.
NOON = dt.datetime(2026, 11, 18, 20, 0, tzinfo=dt.UTC)
AUTUMN = dt.datetime(2026, 11, 1, 1, 0, tzinfo=ZoneInfo("America/Los_Angeles")) - dt.timedelta(minutes=20)

#: Every way in which a call to MLM may fail, as the sandbox knows them.
FORMS = (
    "text", "result_error", "error_element", "empty", "not_found", "fault", "fault11", "fault12",
    "html502", "html503", "html200", "429", "401", "not_xml", "hang", "reset", "half",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One history's lot. Weights are relative to each other; `saves` is how often somebody changes something at most,
    `turns` how often somebody goes on or something happens."""

    begin: dt.datetime
    files: int
    leads: int
    concerns: tuple[Concern, ...]
    #: Our stamps' and MLM's resolution, seconds: the same, or ours coarser.
    resolution_s: float
    mlm_resolution_s: float
    saves: int
    turns: int
    #: How much time may pass at once, seconds: with little, several saves come to share a stamp.
    moments: tuple[float, ...]
    #: How readily actors change turns, from one that runs alone to one that stops at every statement.
    switching: float
    #: How readily the world moves on while actors could go on.
    haste: float
    behind_share: float
    fault_share: float
    fault_forms: tuple[str, ...]
    recompute_lag: bool
    loses: bool
    weights: dict[str, float]
    shared_reads: bool


MOMENTS = (0.001, 0.01, 0.2, 1.1, 2.0, 7.0, 35.0, 130.0, 320.0)

#: What may happen besides saves and what follows from them, and in how many histories it may.
TROUBLES: dict[str, tuple[float, float]] = {
    "lose a webhook": (0.25, 0.6),
    "double a webhook": (0.6, 0.5),
    "kill a process": (0.6, 0.5),
    "flush Redis": (0.5, 0.4),
    "Redis goes or comes": (0.25, 0.4),
    "freeze or thaw a worker": (0.4, 0.4),
    "MLM is ill or well": (0.5, 0.5),
    "MLM's stamps are blank or not": (0.1, 0.3),
    "MLM forgets its tickets": (0.3, 0.3),
    "MLM's clock jumps": (0.1, 0.3),
    "MLM is restored": (0.08, 0.3),
    "an operator begins anew": (0.08, 0.2),
    "a file goes or comes": (0.2, 0.5),
    "a file is renumbered": (0.2, 0.3),
    "a lead becomes a loan": (0.5, 0.5),
    "the portal asks for a refresh": (0.3, 0.3),
    "a confirmation out of turn": (0.6, 0.5),
    "an audit out of turn": (0.3, 0.3),
    "MLM makes its late saves": (0.3, 0.5),
}


def plan_of(lot: Random) -> Plan:
    """Draw a plan."""
    hasty = lot.random() < 0.25
    resolution_s = 1.0 if hasty else lot.choice([0.004, 0.004, 1.0])
    trouble = lot.random() < 0.85
    weights = {name: weight for name, (share, weight) in TROUBLES.items() if trouble and lot.random() < share}
    weights |= {"an outsider saves": 2.0, "an own write": lot.choice([0.5, 2.0, 4.0]), "deliver": 4.0}
    weights |= {"work": 8.0, "sweep": 0.7, "time passes": lot.choice([0.5, 1.0, 3.0])}
    many = lot.random() < 0.1
    leads = int(lot.random() < 0.25)
    begin = AUTUMN if lot.random() < 0.05 else NOON
    return Plan(
        begin=begin,
        files=max(1, lot.choice([1, 1, 2]) - leads),
        leads=leads,
        concerns=ALL if many else FEW,
        resolution_s=resolution_s,
        mlm_resolution_s=lot.choice([0.001, 1 / 300, resolution_s]),
        saves=lot.randint(2, 5 if many else 8),
        turns=lot.choice([60, 150, 400]),
        moments=MOMENTS[:4] if hasty else MOMENTS,
        switching=lot.choice([0.0, 0.03, 0.1, 0.3, 0.6]),
        haste=lot.choice([0.1, 0.25, 0.5]),
        behind_share=lot.choice([0.0, 0.0, 0.15, 0.4]),
        fault_share=lot.choice([0.1, 0.3, 0.8]),
        fault_forms=FORMS if lot.random() < 0.5 else tuple(lot.sample(FORMS, 3)),
        recompute_lag=lot.random() < 0.2,
        loses="lose a webhook" in weights,
        weights=weights,
        shared_reads=lot.random() < 0.7,
    )
