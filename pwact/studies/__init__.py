"""Questions with a prediction, controls, a metric and a verdict rule fixed beforehand."""

from pwact.studies.config import PRESETS, StudyConfig, preset
from pwact.studies.run import run_study

__all__ = ["PRESETS", "StudyConfig", "preset", "run_study"]
