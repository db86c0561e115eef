"""Common corruptions: one function each. `__all__` is the registry of `pwact.data.corrupted`.

After D. Hendrycks, T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019. A corruption takes an image [row, column, channel] of numbers in 0 .. 1, a `Level`
and NumPy's generator, and gives an image that `corrupted` clips to 0 .. 1. Each states its status: *code*
follows the published program and its constants step by step; a *reconstruction* has its constants, but
follows what is known of a tool that it calls. Neither draws the same random numbers as the published program.

Of the benchmark's nineteen two are not here: frost (it needs the authors' photographs) and spatter.
"""

from pwact.data.corruptions.blur import defocus_blur, gaussian_blur, motion_blur, zoom_blur
from pwact.data.corruptions.codec import jpeg_compression, pixelate
from pwact.data.corruptions.fog import fog
from pwact.data.corruptions.light import brightness, contrast, saturate
from pwact.data.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from pwact.data.corruptions.snow import snow
from pwact.data.corruptions.warp import elastic_transform, glass_blur

__all__ = [
    "brightness",
    "contrast",
    "defocus_blur",
    "elastic_transform",
    "fog",
    "gaussian_blur",
    "gaussian_noise",
    "glass_blur",
    "impulse_noise",
    "jpeg_compression",
    "motion_blur",
    "pixelate",
    "saturate",
    "shot_noise",
    "snow",
    "speckle_noise",
    "zoom_blur",
]
