"""Plots for a report: reads the figures that it wrote, and draws them.

    .peers/venv/bin/python plot.py RESULT.json

Runs in another virtual environment, since neither the gateway nor its tests need matplotlib.
"""

import json
import subprocess
import sys
from pathlib import Path

_PYTHON = Path(__file__).parents[1] / ".peers" / "venv" / "bin" / "python"


def plot(figures: Path) -> str:
    """Draw the figures of a file. Returns a line for the report."""
    if not _PYTHON.exists():
        return "no plots: matplotlib is not installed (benchmarks/install.sh)"
    done = subprocess.run([_PYTHON, __file__, figures], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"no plots: {done.stderr.strip().splitlines()[-1]}"


def _draw(path: Path) -> Path:
    import matplotlib.pyplot as plt  # type: ignore[import-not-found] # noqa: PLC0415 - in the other Python only

    figures = json.loads(path.read_text())
    columns = 2
    rows = -(-len(figures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(11, 3.4 * rows), layout="constrained", squeeze=False)
    for position, series in enumerate(figures):
        axis = axes[position // columns][position % columns]
        axis.plot(*zip(*series["points"], strict=True), marker="o")
        axis.set(title=series["title"], xlabel=series["x"], ylabel=series["y"], ylim=(0, None))
        if series["points"][-1][0] > 10 * series["points"][0][0]:
            axis.set_xscale("log")
        axis.grid(visible=True, alpha=0.3)
    for axis in axes.flat[len(figures) :]:
        axis.remove()
    target = path.with_suffix(".png")
    figure.savefig(target, dpi=110)
    return target


if __name__ == "__main__":
    drawn = _draw(Path(sys.argv[1])).name
    print(f"plots: [{drawn}]({drawn})")
