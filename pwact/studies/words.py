"""What a study says in words: its question, its summary, its limits."""

from __future__ import annotations

from collections.abc import Sequence

from pwact.records import Calibration, Interval, Network, Verdict

QUESTION = (
    "Does a trained CNN decide by a bag of point vectors (A), and do few of them suffice (B)? This is "
    'our operationalisation of a hypothesis known from its abstract: "point-wise activation", in "How '
    'Does DCNN Make Decisions?" (Lin, Wang, Ma, Li, Bai; ICPR 2020).'
)

LIMITS = [
    "A pass supports our readings of the hypothesis, not its authors' definition, of which only the "
    "abstract can be read.",
    "Removing points leaves the distribution of the data. Two fills lessen that; networks retrained "
    "with masked points would be the stronger check, and were not trained here. P1 and P4 as ruled "
    "remove no points: the fills enter only the causal check beside P4.",
    "Whether the points that count are the meaningful ones (claim C) can be decided only where object "
    "masks exist, and is not asked here.",
    "Networks for small images are not comparable with ImageNet figures.",
    "One architecture on one dataset; the intervals speak of new seeds and new images of it.",
    "How long networks train is part of the configuration: networks with shuffled points might retain more "
    "after longer training, and shuffled labels are learnt only as far as the table of networks says.",
    "With average pooling and a linear head the last map is indifferent to arrangement and additive by "
    "construction. That is tested, and is not evidence.",
]


def title(dataset: str) -> str:
    """The study's title."""
    return f"Point-wise activation on {dataset}"


def summary(
    verdicts: Sequence[Verdict],
    calibration: Sequence[Calibration],
    networks: Sequence[Network],
    dataset: str,
    seconds: float,
) -> list[str]:
    """Five lines: what was found, whether the instrument can be trusted, what was trained.

    Args:
        verdicts: P1 and P4.
        calibration: of every metric.
        networks: the first is the one that is judged.
        dataset: its name.
        seconds: of the whole study.

    Returns:
        One sentence or two a line.
    """
    lines = [_verdict(verdict) for verdict in verdicts]
    lines.append(calibrated(calibration))
    judged, accuracy = networks[0].name.capitalize(), _percent(networks[0].accuracy)
    lines.append(f"{judged} networks reach {accuracy} on held-out images of {dataset}.")
    total = sum(network.seeds for network in networks)
    lines.append(f"{total} networks of {len(networks)} kinds in {_clock(seconds)}.")
    return lines


def calibrated(calibration: Sequence[Calibration]) -> str:
    """One line on which metrics may give a verdict, and what failed."""
    metrics = ", ".join(
        f"{each.metric} {'admissible' if each.admissible else 'inadmissible'} (AUROC {each.auroc:.3f})"
        for each in calibration
    )
    failed = [check.network for each in calibration for check in each.planted if not check.passed]
    return f"Calibration: {metrics}." + (f" Failed: {', '.join(dict.fromkeys(failed))}." if failed else "")


def _verdict(verdict: Verdict) -> str:
    met = {True: "met", False: "not met"}
    criteria = ", ".join(
        f"{each.name} {_number(each.interval)} ({met[each.met]})"
        for each in verdict.criteria
        if each.side == "support"
    )
    return (
        f"{verdict.prediction}, {verdict.title[0].lower()}{verdict.title[1:]}: {verdict.verdict}. {criteria}."
    )


def _number(interval: Interval) -> str:
    if interval.estimate != interval.estimate:
        return "undefined"
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
