"""The pictures of one site, channel by channel: maps by class, and the images that move it most."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from pwact.report import numbers, pictures
from pwact.report.arrays import Maps, Top

CHANNELS, CLASSES, RANKS = 24, 20, 8
MEAN, FIRING = "magma", "viridis"
GAP = 1


class Cell(NamedTuple):
    """One map in a strip, `x` pixels from its left end."""

    x: int
    name: str
    value: str
    alt: str


class Strip(NamedTuple):
    """Maps side by side in one PNG, on one scale of colours."""

    title: str
    colours: str
    low: str
    high: str
    address: str
    width: int
    cells: list[Cell]


class Shot(NamedTuple):
    """One image in a strip with its receptive field (left, top, width, height) and position, in pixels."""

    x: int
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    value: str
    caption: str
    alt: str


class Channel(NamedTuple):
    """What one channel does; `thumb` is its place in the site's overview, or None."""

    number: int
    mean: str
    thumb: int | None
    strips: list[Strip]
    shots: list[Shot]
    images: str
    images_width: int


class Pictures(NamedTuple):
    """One site's channels, `first` the one to open with; sizes are (rows, columns) in points and pixels."""

    site: str
    size: tuple[int, int] | None
    image_size: tuple[int, int] | None
    channels: list[Channel]
    first: int
    total: int
    classes_left_out: int
    overview: str
    overview_width: int


def site_pictures(site: str, maps: Maps | None, top: Top | None) -> Pictures:
    """Draw one site; either part may be missing.

    Args:
        site: the site's name.
        maps: its maps by class.
        top: its most activating images.

    Returns:
        At most CHANNELS channels: where there are more, those whose mean differs most between classes.
    """
    total = maps.mean.shape[-1] if maps else top.value.shape[0] if top else 0
    spread = _spread(maps) if maps else np.zeros(total)
    chosen = sorted(np.argsort(-spread, kind="stable")[:CHANNELS].tolist())
    first = int(spread[chosen].argmax()) if chosen else 0
    size = maps.mean.shape[1:3] if maps else None
    channels = []
    for place, channel in enumerate(chosen):
        shots, images, width = _shots(site, top, channel, size) if top else ([], "", 0)
        strips, mean = _strips(maps, channel) if maps else ([], math.nan)
        thumb = None if size is None else place * (size[1] + GAP)
        text = "" if math.isnan(mean) else numbers.number(mean)
        channels.append(Channel(channel, text, thumb, strips, shots, images, width))
    overview, overview_width = _overview(maps, chosen) if maps else ("", 0)
    image_size = top.image.shape[2:4] if top else None
    left_out = max(0, len(maps.classes) - CLASSES) if maps else 0
    return Pictures(site, size, image_size, channels, first, total, left_out, overview, overview_width)


def _spread(maps: Maps) -> Float[np.ndarray, " channel"]:
    """How much a channel's mean differs between the classes that have images."""
    means = maps.mean.mean(axis=(1, 2))
    means = means[np.isfinite(means).all(axis=1)]
    return means.std(axis=0) if len(means) else np.zeros(maps.mean.shape[-1])


def _strips(maps: Maps, channel: int) -> tuple[list[Strip], float]:
    mean, firing = maps.mean[:CLASSES, ..., channel], maps.firing[:CLASSES, ..., channel]
    seen = mean[np.isfinite(mean)]
    low, high = (min(0.0, float(seen.min())), float(seen.max())) if len(seen) else (0.0, 0.0)
    strips = [
        _strip("Mean activation", maps, channel, mean, low, high, MEAN, numbers.number),
        _strip("Share of images that fire", maps, channel, firing, 0.0, 1.0, FIRING, numbers.percent),
    ]
    return strips, float(seen.mean()) if len(seen) else math.nan


def _strip(title: str, maps: Maps, channel: int, values, low: float, high: float, colours: str, say) -> Strip:
    address, width = _side_by_side(values, low, high, colours)
    cells = []
    for i, (name, each) in enumerate(zip(maps.classes, values, strict=False)):
        x, shown = i * (values.shape[2] + GAP), f"{title} of channel {channel} for class {name}"
        if not np.isfinite(each).all():
            cells.append(Cell(x, name, "no images", f"{shown}: no images of this class"))
            continue
        row, column = np.unravel_index(int(each.argmax()), each.shape)
        peak = f"highest {say(float(each.max()))} at row {row}, column {column}"
        average = say(float(each.mean()))
        cells.append(Cell(x, name, average, f"{shown}: {average} on average over points, {peak}"))
    return Strip(title, colours, say(low), say(high), address, width, cells)


def _overview(maps: Maps, chosen: list[int]) -> tuple[str, int]:
    """Every chosen channel's mean over classes, each on its own scale of colours."""
    present = np.isfinite(maps.mean).all(axis=(1, 2, 3))
    if not present.any():
        return _side_by_side(np.full((len(chosen), *maps.mean.shape[1:3]), np.nan), 0.0, 1.0, MEAN)
    means = np.moveaxis(maps.mean[present].mean(axis=0)[..., chosen], -1, 0)
    low = np.minimum(0.0, means.min(axis=(1, 2), keepdims=True))
    span = means.max(axis=(1, 2), keepdims=True) - low
    return _side_by_side((means - low) / np.where(span > 0, span, 1.0), 0.0, 1.0, MEAN)


def _side_by_side(
    values: Float[np.ndarray, "cell row column"], low: float, high: float, colours: str
) -> tuple[str, int]:
    """The maps in one row with a transparent column after each, and the strip's width."""
    padded = np.pad(values, ((0, 0), (0, 0), (0, GAP)), constant_values=np.nan)
    strip = np.concatenate(list(padded), axis=1)
    return pictures.colour_png(strip, low, high, colours), strip.shape[1]


def _shots(site: str, top: Top, channel: int, size: tuple[int, int] | None) -> tuple[list[Shot], str, int]:
    used = [rank for rank in range(top.index.shape[1]) if top.index[channel, rank] >= 0][:RANKS]
    if not used:
        return [], "", 0
    height, width = top.image.shape[2:4]
    brightest = max(1, int(top.image.max()))
    strip = np.concatenate([top.image[channel, rank] for rank in used], axis=1)
    strip = (strip * (255.0 / brightest)).round().astype(np.uint8)
    shots = []
    for place, rank in enumerate(used):
        row, column = int(top.row[channel, rank]), int(top.column[channel, rank])
        upper, left, lower, right = np.clip(top.box[channel, rank], 0, [height, width, height, width])
        centre = _centre((row, column), top.box[channel, rank], size, (height, width))
        value, index = numbers.number(float(top.value[channel, rank])), int(top.index[channel, rank])
        where = f"row {row}, column {column}"
        alt = (
            f"Image {index}, rank {rank + 1} for channel {channel} at {site}: activation {value} at {where}; "
            f"receptive field rows {upper:g} to {lower:g}, columns {left:g} to {right:g} in pixels"
        )
        box = (float(left), float(upper), float(right - left), float(lower - upper))
        shots.append(Shot(place * width, box, centre, value, f"#{index} ({row}, {column})", alt))
    return shots, pictures.image_png(strip), strip.shape[1]


def _centre(
    point: tuple[int, int], box: Int[np.ndarray, " 4"] | Float[np.ndarray, " 4"], size, image_size
) -> tuple[float, float]:
    """Where a point sits in the image (x, y): in its map's proportion, or its receptive field's middle."""
    if size is None:
        return float(box[1] + box[3]) / 2, float(box[0] + box[2]) / 2
    y, x = ((at + 0.5) * pixels / points for at, pixels, points in zip(point, image_size, size, strict=True))
    return x, y
