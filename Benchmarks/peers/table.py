"""Medians over all processes of each, and how many times ours they take."""

import argparse
import json
from statistics import median

parser = argparse.ArgumentParser()
parser.add_argument("results")
parser.add_argument("--tokens", type=int, required=True, help="of a step")
options = parser.parse_args()

processes = {}
with open(options.results) as file:
    for line in file:
        entry = json.loads(line)
        processes.setdefault(entry["name"], []).append(entry["result"])


def summary(results):
    return dict(
        seconds=median(value for result in results for value in result["seconds"]),
        processor=median(value for result in results for value in result["processor_seconds"]),
        peak=median(result["peak_mb"] for result in results),
        before=median(result["before_mb"] for result in results),
    )


found = {name: summary(results) for name, results in processes.items()}
references = [name for name in ["ours-ghost", "ours-standard"] if name in found]
titles = ["", "s/step", "CPU s/step", "tokens/s", "peak MB", "before MB"]
for name in references:
    titles += [f"time / {name}", f"{name}'s memory", "less before"]
rows = [titles]
for name, values in found.items():
    row = [
        name,
        f"{values['seconds']:.3f}",
        f"{values['processor']:.3f}",
        f"{options.tokens / values['seconds']:.0f}",
        f"{values['peak']:.0f}",
        f"{values['before']:.0f}",
    ]
    for reference in references:
        ours = found[reference]
        row += [
            f"{values['seconds'] / ours['seconds']:.2f}",
            f"{ours['peak'] / values['peak']:.2f}",
            f"{(ours['peak'] - ours['before']) / (values['peak'] - values['before']):.2f}",
        ]
    rows.append(row)
widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
for row in rows:
    print("  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths))))
print(
    "peak MB: the largest resident set of the process (ru_maxrss; VmHWM for ours), libraries included; before MB: that of the process "
    "with its libraries and without a model. "
    "time / ours: how many times as long. ours' memory: as a part of the row's, as it is and less what was there before."
)
rates = [result["sgemm_gigaflops"] for name in references for result in processes[name] if "sgemm_gigaflops" in result]
if rates:
    print(f"sgemm right after our steps: {min(rates):.0f} to {max(rates):.0f} GFLOP/s on one thread")
for name, results in processes.items():
    print(f"{name}: {results[0]['version']}")
