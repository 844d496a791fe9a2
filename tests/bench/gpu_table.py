#!/usr/bin/env python3
"""One table, and table.json, of what tests/gpu.sh left in its folder of results.

    gpu_table.py RESULTS

Needs nothing but Python. What was not measured stands as "not yet measured".
"""
import json
import pathlib
import sys

MISSING = "not yet measured"
PRECISIONS = ("float32", "tf32", "bf16")
ROWS = [  # name of the files, batch, what the table calls it
    ("resnet18", 16, "train Unet-resnet18, 256 x 256, batch 16"),
    ("resnet18", 64, "train Unet-resnet18, 256 x 256, batch 64"),
    ("resnet34", 16, "train Unet-resnet34, 256 x 256, batch 16"),
    ("resnet34", 64, "train Unet-resnet34, 256 x 256, batch 64"),
    ("mobilenet", 64, "train Linknet-mobilenet_v3_small_075, 224 x 224, batch 64"),
    ("distill", 64, "distil it under Unet-resnext101_32x8d, batch 64"),
    ("infer", 1, "its answers, batch 1"),
    ("infer", 64, "its answers, batch 64"),
]


def load(path):
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def text(path):
    return path.read_text().strip() if path.exists() else ""


def best_of(modes, precision, eager):
    """(images per second, peak MiB, mode) of PyTorch, eager or the best of the others."""
    fitting = [m for m in modes if m["precision"] == precision and "images_per_second" in m
               and (m["mode"] == "eager") == eager]
    if not fitting:
        return None
    best = max(fitting, key=lambda m: m["images_per_second"])
    return best["images_per_second"], best["peak_mib"], best["mode"]


def step_rows(results):
    rows = []
    for name, batch, title in ROWS:
        theirs = load(results / f"{name}-{batch}-pytorch.json")
        for precision in PRECISIONS:
            ours = load(results / f"{name}-{batch}-{precision}.json")
            row = {"title": title, "precision": precision}
            if ours:
                for mode in ("eager", "graph"):
                    row[f"decant_{mode}"] = ours[f"{mode}_images_per_second"]
                    row[f"decant_{mode}_peak_mib"] = ours[f"{mode}_peak_mib"]
            if theirs:
                for key, found in (("pytorch_eager", best_of(theirs["modes"], precision, True)),
                                   ("pytorch_compiled", best_of(theirs["modes"], precision, False))):
                    if found:
                        row[key], row[f"{key}_peak_mib"], row[f"{key}_mode"] = found
            mine = [row[k] for k in ("decant_eager", "decant_graph") if k in row]
            other = [row[k] for k in ("pytorch_eager", "pytorch_compiled") if k in row]
            if mine and other:
                row["ratio"] = max(mine) / max(other)
            rows.append(row)
    return rows


def number(row, key, digits=0):
    value = row.get(key)
    return "-" if value is None else f"{value:,.{digits}f}"


def print_steps(rows):
    if not any(len(row) > 2 for row in rows):
        print(f"images per second: {MISSING}")
        return
    print("images per second (peak device memory in MiB)")
    print(f"{'':60s}{'':9s}{'decant eager':>20s}{'decant graph':>20s}{'PyTorch eager':>20s}"
          f"{'PyTorch compiled':>20s}{'ratio':>7s}")
    for row in rows:
        if len(row) == 2:
            print(f"{row['title']:60s}{row['precision']:9s}{MISSING:>20s}")
            continue
        cells = [f"{number(row, key)} ({number(row, key + '_peak_mib')})"
                 for key in ("decant_eager", "decant_graph", "pytorch_eager", "pytorch_compiled")]
        print(f"{row['title']:60s}{row['precision']:9s}" + "".join(f"{cell:>20s}" for cell in cells) +
              f"{number(row, 'ratio', 2):>7s}")


def print_kernels(kernels):
    if not kernels:
        print(f"kernels: {MISSING}")
        return
    ceilings = kernels["ceilings"]
    print(f"measured ceilings: copy {ceilings['copy'] / 1e9:,.0f} GB/s, product " +
          ", ".join(f"{mode} {flops / 1e12:,.1f}" for mode, flops in ceilings["product"].items()) + " TFLOP/s")
    print(f"a launch {1e6 * ceilings['launch']:.1f} us")
    print("convolutions, as a share of the floor that arithmetic, bytes or the launch set; the furthest from it first")
    for row in sorted(kernels["conv"], key=lambda r: r["of_ceiling"]):
        print(f"  {row['layer']:20s}{row['pass']:16s}{row['precision']:8s}{row['microseconds']:10.1f} us"
              f"{row['tflops']:8.1f} TFLOP/s{row['gb_per_s']:7.0f} GB/s{100 * row['of_ceiling']:6.0f} %  {row['limit']}")


def worst_errors(optable):
    """Of each check on cuda ("cuda", and one for each further mode) the row nearest to its tolerance."""
    worst = {}
    for row in optable["rows"] if optable else ():
        for check in row["checks"]:
            if not check["check"].startswith("cuda") or not check["tolerance"]:
                continue
            share = float("inf") if check["error"] is None else check["error"] / check["tolerance"]
            if share > worst.get(check["check"], {"share": -1})["share"]:
                worst[check["check"]] = {"share": share, "error": check["error"], "tolerance": check["tolerance"],
                                         "row": f"{row['op']}, {row['variant']}"}
    return worst


def print_errors(errors):
    if not errors:
        print(f"worst errors against float64: {MISSING}")
        return
    print("worst errors against float64, of all rows of the op table, as a share of the derived tolerance")
    for check, worst in errors.items():
        print(f"  {check:18s}{worst['share']:6.2f}   {worst['error']:.1e} of {worst['tolerance']:.1e}   {worst['row']}")


def main():
    if len(sys.argv) != 2:
        print("gpu_table.py: expected the folder of results", file=sys.stderr)
        return 2
    results = pathlib.Path(sys.argv[1])
    if not results.is_dir():
        print(f"gpu_table.py: expected a folder of results, got {results}", file=sys.stderr)
        return 2
    done = {path.stem: int(text(path)) for path in sorted(results.glob("*.done"))}
    table = {"card": text(results / "card.txt") or MISSING, "stages_seconds": done,
             "steps": step_rows(results), "kernels": load(results / "kernels.json"),
             "errors": worst_errors(load(results / "optable.json")), "sanitizer": text(results / "sanitize.txt") or MISSING}
    print(f"card: {table['card']}; stages done: {', '.join(done) or 'none'}")
    print_steps(table["steps"])
    print_kernels(table["kernels"])
    print_errors(table["errors"])
    print(f"compute-sanitizer: {table['sanitizer']}".replace("\n", "; "))
    (results / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
