#!/usr/bin/env python3
"""How the time of a training step grows with the work: one axis at a time away from batch 8, 224 x 224.

    tests/bench/scaling.py                       # the thin U-Net and Unet-resnet18, on an idle machine: 3 minutes
    tests/bench/scaling.py unet/resnet34 --steps 5

Prints a table in Markdown: milliseconds per step, microseconds per thousand pixels, and how many times the
table's first row of that axis this is. Flat is linear; the line bends where it rises or falls.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

BATCHES = (1, 2, 4, 8, 16, 32)
SIZES = (64, 128, 224, 320, 512)
WIDTHS = (16, 32, 64)  # of the thin U-Net: channels x 1, x 2, x 4


def measure(arguments, model, batch=8, size=224, threads=2):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "bench.json"
        done = subprocess.run([arguments.decant, "bench", "train", "--model", model, "--size", str(size), "--batch",
                               str(batch), "--threads", str(threads), "--steps", str(arguments.steps), "--json", file],
                              stdout=subprocess.DEVNULL)
        if done.returncode != 0:  # it has said why
            raise SystemExit(2)
        return json.loads(file.read_text())


def axis(arguments, model, name, values):
    """`values`: what the row is called, and the settings of its run."""
    first = None
    for value, settings in values:
        found = measure(arguments, settings.pop("model", model), **settings)
        pixels = found["batch"] * found["size"] ** 2 / 1000
        each = 1000 * found["step_ms"] / pixels
        first = first or each
        low, high = found["step_ms_quartiles"]
        print(f"| {model} | {name} {value} | {found['step_ms']:.1f} ({low:.1f} to {high:.1f}) | {each:.0f} | "
              f"{each / first:.2f} | {found['peak_mib']:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["thin_unet", "unet/resnet18"])
    parser.add_argument("--decant", default="build/release/bin/decant")
    parser.add_argument("--steps", type=int, default=9)
    arguments = parser.parse_args()
    if not shutil.which(arguments.decant):
        print(f"scaling: --decant: expected the program, got {arguments.decant}", file=sys.stderr)
        raise SystemExit(2)
    print("| network | | ms per step (quartiles) | us per 1000 pixels | times the first | MiB |\n|---|---|---|---|---|---|", flush=True)
    for model in arguments.models:
        axis(arguments, model, "batch", [(n, {"batch": n}) for n in BATCHES])
        axis(arguments, model, "size", [(n, {"size": n}) for n in SIZES])
        axis(arguments, model, "threads", [(n, {"threads": n}) for n in (1, 2)])
        if model == "thin_unet":
            axis(arguments, model, "width", [(n, {"model": json.dumps({"decoder": "thin_unet", "width": n})})
                                             for n in WIDTHS])


if __name__ == "__main__":
    main()
