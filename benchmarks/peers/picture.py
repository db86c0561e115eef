"""What run.py found, as a plot and as a table in Markdown."""

from __future__ import annotations

import pathlib
from typing import Any

TITLES = {
    "six": "Six statistics of every point",
    "covariance": "Covariance of channels",
    "top": "Strongest images of each channel",
    "quantiles": "Quantiles of each channel",
}


def ratios(result: dict[str, Any], comparison: str) -> dict[str, float]:
    """Times pwact's own, fastest first; ways that failed are left out."""
    found = {
        name: entry["times_pwact.sweep"]
        for name, entry in result["comparisons"][comparison].items()
        if "times_pwact.sweep" in entry
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def draw(result: dict[str, Any], path: pathlib.Path) -> None:
    """One panel a comparison: how many times pwact's time each way took."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    panels = {name: ratios(result, name) for name in TITLES if name in result["comparisons"]}
    rows = [len(bars) + 1 for bars in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(7.5, 0.28 * sum(rows) + 0.3 * len(panels) + 0.6),
        height_ratios=rows,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    values = [value for bars in panels.values() for value in bars.values()]
    least, most = min(values), max(values)
    for ax, (name, bars) in zip(axes[:, 0], panels.items(), strict=True):
        entries = result["comparisons"][name]
        labels = [way if entries[way]["holds"] else f"{way} (numbers differ)" for way in bars]
        for row, (way, value) in enumerate(bars.items()):
            color = "#0b6e4f" if way == "pwact.sweep" else "#6b7785"
            ax.plot([1, value], [row, row], color=color, linewidth=2)
            ax.plot(value, row, "o", color=color)
            ax.annotate(f"{value:.2f}", (value, row), (8, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(bars)), labels)
        ax.axvline(1, color="#0b6e4f", linewidth=0.8)
        ax.set(xscale="log", xlim=(least / 1.5, most * 2), ylim=(len(bars) - 0.5, -0.5))
        ax.set_title(TITLES[name], loc="left")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel(
        f"times pwact.sweep (less is faster), {result['images']:,} images, on {where(result)}"
    )
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def where(result: dict[str, Any]) -> str:
    devices = {one["device"] for one in result["peers"].values()}
    if devices == {"cpu"}:
        return f"{result['cores']} cores ({result['processor']})"
    return " and ".join(sorted(devices))


def table(result: dict[str, Any]) -> str:
    rows = [
        "| statistics | way | times pwact | seconds | first run | MiB | best setting found |",
        "|---|---|---|---|---|---|---|",
    ]
    for comparison, title in TITLES.items():
        if comparison not in result["comparisons"]:
            continue
        entries = result["comparisons"][comparison]
        for name, ratio in ratios(result, comparison).items():
            entry = entries[name]
            setting = ", ".join(f"{key} {value}" for key, value in entry["setting"].items()) or "as it comes"
            mark = "" if entry["holds"] else " (numbers differ)"
            memory, seconds = entry["memory"], entry["median_seconds"]
            rest = f"{memory.get('first_run_seconds')} | {memory.get('second_run_mib')} | {setting}"
            rows.append(f"| {title} | {name}{mark} | {ratio:.2f} | {seconds:.2f} | {rest} |")
        rows += [
            f"| {title} | {name} | failed | | | | {e['error']} |"
            for name, e in entries.items()
            if "error" in e
        ]
    return "\n".join(rows)
