"""CNNs from a configuration that a person can read."""

from pwact.models.cnn import build
from pwact.models.config import ModelConfig
from pwact.models.summary import multiplications, parameters, summary
from pwact.models.zoo import quick, small_receptive_field

__all__ = [
    "ModelConfig",
    "build",
    "multiplications",
    "parameters",
    "quick",
    "small_receptive_field",
    "summary",
]
