"""Experiments: what papers claim, measured. One specification is one file of this folder, `eNN_name.py`."""

from pwact.experiment_record import Part, Rule
from pwact.experiments.arms import Setting
from pwact.experiments.experiment import (
    Claim,
    Experiment,
    Outcome,
    curve,
    number,
    paired,
    per_seed,
    table,
)
from pwact.experiments.identity import Arm
from pwact.experiments.registry import everything, find, last_results
from pwact.experiments.run import begins_with, run_experiment
from pwact.experiments.setting import UNIT, base_config, base_recipe, digits_arm, digits_parts

__all__ = [
    "UNIT",
    "Arm",
    "Claim",
    "Experiment",
    "Outcome",
    "Part",
    "Rule",
    "Setting",
    "base_config",
    "base_recipe",
    "begins_with",
    "curve",
    "digits_arm",
    "digits_parts",
    "everything",
    "find",
    "last_results",
    "number",
    "paired",
    "per_seed",
    "run_experiment",
    "table",
]
