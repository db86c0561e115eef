"""Architectures: what a network is, in words that a person can read, and how it is built."""

from pwact.models.architecture import Architecture, from_dict, from_text, own, to_dict
from pwact.models.cnn import build
from pwact.models.config import ModelConfig
from pwact.models.counts import multiplications, parameters
from pwact.models.foreign import load_torchvision
from pwact.models.hmax import HMAX
from pwact.models.mobilenet import MobileNet, mobilenet
from pwact.models.resnet import ResNet, cifar_resnet, resnet
from pwact.models.summary import summary
from pwact.models.vgg import VGG, vgg
from pwact.models.wide_resnet import WideResNet
from pwact.models.zoo import quick, small_receptive_field

__all__ = [
    "HMAX",
    "VGG",
    "Architecture",
    "MobileNet",
    "ModelConfig",
    "ResNet",
    "WideResNet",
    "build",
    "cifar_resnet",
    "from_dict",
    "from_text",
    "load_torchvision",
    "mobilenet",
    "multiplications",
    "own",
    "parameters",
    "quick",
    "resnet",
    "small_receptive_field",
    "summary",
    "to_dict",
    "vgg",
]
