"""Experiments that measure nothing: their numbers are made up, to see what is done with numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pwact.experiments import Claim, Experiment, Outcome, Part, Rule, curve, number, paired, per_seed, table

ACCURACY = "accuracy, method"
GAIN = "accuracy, method - plain"


def outcome(setting: Any, method: float = 0.9, plain: float = 0.85) -> Outcome:
    """Every seed a little better than the one before, and the method better than plain on each."""
    steps = [0.001 * place for place in range(len(setting.seeds))]
    with_it, without = [method + step for step in steps], [plain + 2 * step for step in steps]
    return Outcome(
        figures=[
            per_seed(ACCURACY, with_it, "on 697 test images"),
            paired(GAIN, with_it, without),
            number("graphs that agree", 20),
        ],
        tables=[table("Accuracy by arm", ["arm", "mean"], [["method", method], ["plain", float("nan")]])],
        curves=[curve("Loss", "epoch", [1, 2], {"method": [[2.0, 1.0]] * len(setting.seeds)})],
        notes=["made up"],
    )


def measure(setting: Any, progress: Callable[[str, float], None]) -> Outcome:
    progress("counting", 0.5)
    return outcome(setting)


def experiment(**changes: Any) -> Experiment:
    fields: Mapping[str, Any] = {
        "number": 98,
        "name": "double",
        "title": "A double",
        "paper": "Nobody, Nowhere",
        "claim": "Numbers can be made up.",
        "parts": (Part("the numbers", "reconstruction", "all of them"), Part("the idea", "abstract")),
        "criteria": (
            Rule(ACCURACY, ">=", 0.9, over="every seed", source="a guess"),
            Rule(GAIN, ">", 0.02),
            Rule("graphs that agree", ">=", 20),
        ),
        "claims": (
            Claim("The method gains.", "abstract", (Rule(GAIN, ">", 0),)),
            Claim("It scales.", "abstract", because="nothing large is trained here"),
        ),
        "first_seed": 9800,
        "seeds": 3,
        "run": measure,
    }
    return Experiment(**{**fields, **changes})
