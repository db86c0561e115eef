"""What a study says in words: its question, its summary, its limits."""

from __future__ import annotations

from collections.abc import Sequence

from pwact.records import Calibration, Interval, Network, Verdict
from pwact.studies.arrangement import AII_S, DIFFERENCE, RETAINED
from pwact.studies.concentration import ABOVE_SHUFFLED, ABOVE_UNTRAINED, GINI
from pwact.studies.config import StudyConfig

QUESTION = (
    "Does a trained CNN decide by a bag of point vectors (A), and do few of them suffice (B)? This is "
    'our operationalisation of a hypothesis known from its abstract: "point-wise activation", in "How '
    'Does DCNN Make Decisions?" (Lin, Wang, Ma, Li, Bai; ICPR 2020).'
)

#: What each prediction asks, in the summary's words.
QUESTIONS = {
    "P1": "does a decision survive when the points of a map change places?",
    "P4": "do a few points of the last map carry the decision?",
}

#: What each metric is, in the summary's words. What is kept counts above chance: 1 is all, 0 is nothing.
MEASURES = {
    RETAINED: "accuracy kept by networks trained with shuffled points",
    AII_S: "decisions kept when points are shuffled after training",
    DIFFERENCE: "how much more is kept than with every channel shuffled on its own",
    GINI: "unequal shares of the points (Gini index: 0 all alike, 1 one has all)",
    ABOVE_UNTRAINED: "that minus the same in untrained networks",
    ABOVE_SHUFFLED: "that minus the same in networks that learnt shuffled labels, on training images",
}

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


def limits(config: StudyConfig) -> list[str]:
    """What the numbers of this study cannot say.

    Args:
        config: the study; one of too few networks gives no verdict, which is said first.

    Returns:
        One limit a line.
    """
    short = too_few(config)
    return ([f"This run gives no verdict: {short}."] if short else []) + LIMITS


def too_few(config: StudyConfig) -> str:
    """Why a study of so few networks gives no verdict whatever is measured; empty for one of enough.

    Example:
        >>> from pwact.studies import preset
        >>> too_few(preset("smoke")), too_few(preset("quick"))
        ('2 networks of each kind are fewer than the 10 that a verdict needs', '')
    """
    for given, needed, networks in (
        (config.seeds, config.minimum_seeds, "networks of each kind"),
        (config.calibration_seeds, config.calibration.seeds, "networks on each calibration set"),
    ):
        if given < needed:
            return f"{given} {networks} are fewer than the {needed} that a verdict needs"
    return ""


def summary(
    verdicts: Sequence[Verdict],
    calibration: Sequence[Calibration],
    networks: Sequence[Network],
    config: StudyConfig,
    dataset: str,
    seconds: float,
) -> list[str]:
    """Five lines: what was found, whether the instrument can be trusted, what was trained.

    Args:
        verdicts: P1 and P4.
        calibration: of every metric.
        networks: the first is the one that is judged.
        config: the study.
        dataset: its name.
        seconds: of the whole study.

    Returns:
        One sentence or two a line.
    """
    lines = [_verdict(verdict, too_few(config)) for verdict in verdicts]
    lines.append(calibrated(calibration, config))
    judged, accuracy = networks[0].name.capitalize(), _percent(networks[0].accuracy)
    total = sum(network.seeds for network in networks)
    lines.append(f"{judged} networks are right on {accuracy} of the held-out images of {dataset}.")
    lines.append(
        f"Trained and measured: {total} networks of {len(networks)} kinds in {_clock(seconds)}; every number "
        f"is an estimate with its {100 * config.level:g} % interval."
    )
    return lines


def calibrated(calibration: Sequence[Calibration], config: StudyConfig) -> str:
    """One line on which measures may give a verdict, and why the others may not."""
    passed = sum(each.admissible for each in calibration)
    line = f"Calibration on networks whose answer is known: {passed} of {len(calibration)} measures pass."
    if passed == len(calibration):
        return line
    short = too_few(config)
    apart = [
        f"{MEASURES[each.metric]} tells bag from relation networks with AUROC {each.auroc:.2f} "
        f"(needs {each.required_auroc:g})"
        for each in calibration
        if not each.auroc >= each.required_auroc
    ]
    checks = {
        check.network: f"{check.network} ({_signs(check.expected)}: found {check.found:.2f})"
        for each in calibration
        for check in each.planted
        if not check.passed
    }
    reasons = [*([short] if short else []), *apart, *checks.values()]
    return f"{line} Failed: {'; '.join(reasons)}."


def _verdict(verdict: Verdict, short: str) -> str:
    """The question, the answer, and what was measured against what was needed."""
    answer = verdict.verdict if not short else f"no verdict ({short})"
    criteria = "; ".join(
        f"{MEASURES[each.name]} {_number(each.interval)} (needs {_signs(each.rule.rpartition('bound ')[2])}: "
        f"{'met' if each.met else 'not met'})"
        for each in verdict.criteria
        if each.side == "support"
    )
    return (
        f"{verdict.prediction}, {QUESTIONS[verdict.prediction]} {answer[0].upper()}{answer[1:]}: {criteria}."
    )


def _signs(text: str) -> str:
    return text.replace(">=", "≥").replace("<=", "≤").replace("+-", "±")


def _number(interval: Interval) -> str:
    if interval.estimate != interval.estimate:
        return "undefined"
    text = f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    return text.replace("-", "−")


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
