#!/usr/bin/env python3
"""Times one training step of Unet-resnet18 in Decant and in PyTorch, in turn, in one run.

    tests/bench/compare_pytorch.py build/release/bin/decant [--size 128] [--batch 8] [--threads 2] [--rounds 5]

Needs PyTorch, 1.13 (Debian's python3-torch) or 2.x; nothing else. Both sides do the same work: the
network below (layer for layer the one that `--model unet/resnet18` builds; 14,328,209 parameters),
binary cross-entropy, backward, Adam. PyTorch runs in channels_last, its faster layout on a CPU, with
memory kept from going back to the system between steps. Each round starts both programs afresh,
one after the other; the figures are medians over rounds of each round's median step.

Peak memory is the process's high-water mark less what it was before the network was built, so that
Python and the libraries PyTorch loads do not count against it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile


def high_water_mib():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return float("nan")


def build_unet():
    import torch
    from torch import nn
    from torch.nn import functional as F

    def conv_bn(inputs, outputs, kernel=3, stride=1):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs))

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first = conv_bn(inputs, outputs, 3, stride)
            self.second = conv_bn(outputs, outputs)
            self.shortcut = None
            if stride != 1 or inputs != outputs:
                self.shortcut = conv_bn(inputs, outputs, 1, stride)

        def forward(self, x):
            y = self.second(F.relu(self.first(x), inplace=True))
            return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)

    class Unet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = conv_bn(3, 64, 7, 2)
            stages, channels = [], 64
            for i, outputs in enumerate((64, 128, 256, 512)):
                stride = 1 if i == 0 else 2
                stages.append(nn.Sequential(Block(channels, outputs, stride), Block(outputs, outputs, 1)))
                channels = outputs
            self.stages = nn.ModuleList(stages)
            self.decoder = nn.ModuleList()
            for outputs, skip in zip((256, 128, 64, 32, 16), (256, 128, 64, 64, 0)):
                self.decoder.append(nn.ModuleList([conv_bn(channels + skip, outputs), conv_bn(outputs, outputs)]))
                channels = outputs
            self.head = nn.Conv2d(channels, 1, 3, padding=1)

        def forward(self, x):
            features = [F.relu(self.stem(x), inplace=True)]
            x = F.max_pool2d(features[0], 3, 2, 1)
            for stage in self.stages:
                x = stage(x)
                features.append(x)
            for block, skip in zip(self.decoder, [*reversed(features[:-1]), None]):
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                if skip is not None:
                    x = torch.cat([x, skip], 1)
                for layer in block:
                    x = F.relu(layer(x), inplace=True)
            return self.head(x)

    return Unet()


def pytorch_step(arguments):
    import time
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    before = high_water_mib()
    network = build_unet().to(memory_format=torch.channels_last).train()
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == 14328209, parameters
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    size = arguments.size
    x = torch.randn(arguments.batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    y = (torch.rand(arguments.batch, 1, size, size) > 0.5).float()
    times = []
    for step in range(arguments.steps + 3):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        F.binary_cross_entropy_with_logits(network(x), y).backward()
        optimizer.step()
        if step >= 3:
            times.append(time.perf_counter() - start)
    print(json.dumps({"step_ms": 1e3 * statistics.median(times), "peak_mib": high_water_mib() - before,
                      "version": torch.__version__}))


def run_pytorch(arguments):
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads),
                       MALLOC_MMAP_THRESHOLD_="8589934592", MALLOC_TRIM_THRESHOLD_="17179869184",
                       MALLOC_TOP_PAD_="268435456")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)  # they would slow PyTorch down
    command = [sys.executable, __file__, "--pytorch-step", "--size", str(arguments.size), "--batch",
               str(arguments.batch), "--threads", str(arguments.threads), "--steps", str(arguments.steps)]
    return json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)


def run_decant(arguments):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run([arguments.decant, "bench", "train", "--model", "unet/resnet18", "--size",
                        str(arguments.size), "--batch", str(arguments.batch), "--threads",
                        str(arguments.threads), "--steps", str(arguments.steps), "--json", report.name],
                       check=True, capture_output=True)
        return json.load(open(report.name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("decant", nargs="?", default="build/release/bin/decant")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pytorch-step", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pytorch_step:
        return pytorch_step(arguments)

    ours, theirs = [], []
    for _ in range(arguments.rounds):
        ours.append(run_decant(arguments))
        theirs.append(run_pytorch(arguments))
    ratios = [a["step_ms"] / b["step_ms"] for a, b in zip(ours, theirs)]
    median = statistics.median
    print(f"Unet-resnet18, batch {arguments.batch}, 3 x {arguments.size} x {arguments.size}, "
          f"{arguments.threads} threads, {arguments.rounds} rounds of {arguments.steps} steps")
    print(f"  decant          {median(r['step_ms'] for r in ours):8.1f} ms per step   "
          f"peak {median(r['peak_mib'] for r in ours):7.0f} MiB")
    print(f"  PyTorch {theirs[0]['version']:8s}{median(r['step_ms'] for r in theirs):8.1f} ms per step   "
          f"peak {median(r['peak_mib'] for r in theirs):7.0f} MiB")
    print(f"  ratio           {median(ratios):8.2f} (min {min(ratios):.2f}, max {max(ratios):.2f})")


if __name__ == "__main__":
    main()
