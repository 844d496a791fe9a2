#!/usr/bin/env python3
"""The rows of tests/gpu.sh in PyTorch: one step of training, distillation or inference, per second.

    gpu_pytorch.py train   --model unet/resnet18 --size 256 --batch 16 --json FILE
    gpu_pytorch.py distill --model linknet/mobilenet_v3_small_075 --teacher unet/resnext101_32x8d --size 224 --batch 64 --json FILE
    gpu_pytorch.py infer   --model linknet/mobilenet_v3_small_075 --size 224 --batch 1 --json FILE

As PyTorch is fastest: channels_last, cuDNN's benchmark, a fused Adam, for each precision (float32,
tf32, bf16 by autocast) eager and compiled, the latter as CUDA graphs (modes reduce-overhead and, where
time is left, max-autotune; the optimizer stays outside of the graph). The
losses are those of `decant bench`: binary cross-entropy; under a teacher half of it and half of the
divergence of the two Bernoulli distributions (preset L_KLD). A mode that fails is noted, not fatal.
"""
import argparse
import gc
import json
import os
import statistics
import sys
import time

import torch
from torch.nn import functional as F

from pytorch_networks import build

PRECISIONS = ("float32", "tf32", "bf16")


def bernoulli_kl(teacher, student):
    p = torch.sigmoid(teacher)
    return (p * (teacher - student) + F.softplus(student) - F.softplus(teacher)).mean()


class Bench:
    def __init__(self, arguments, precision, compiled):
        self.arguments = arguments
        tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(0)
        self.device = arguments.device
        self.autocast = torch.autocast(self.device, torch.bfloat16, enabled=precision == "bf16")
        layout = torch.channels_last
        self.student = build(arguments.model).to(self.device, memory_format=layout)
        self.student.train(arguments.what != "infer")
        self.teacher = None
        if arguments.what == "distill":
            self.teacher = build(arguments.teacher).to(self.device, memory_format=layout).eval()
        size = arguments.size
        self.images = torch.randn(arguments.batch, 3, size, size, device=self.device).contiguous(memory_format=layout)
        self.masks = (torch.rand(arguments.batch, 1, size, size, device=self.device) > 0.5).float()
        fused = {"fused": True} if self.device == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.student.parameters(), 3e-4, **fused)
        self.losses = torch.compile(self.losses_eager, mode=compiled) if compiled else self.losses_eager
        self.answer = torch.compile(self.answer_eager, mode=compiled) if compiled else self.answer_eager

    def answer_eager(self, images):
        with self.autocast:
            return self.student(images)

    def losses_eager(self, images, masks):
        said = None
        if self.teacher is not None:
            with torch.no_grad(), self.autocast:
                said = self.teacher(images).float()
        with self.autocast:
            logits = self.student(images).float()
        loss = F.binary_cross_entropy_with_logits(logits, masks)
        return loss if said is None else 0.5 * loss + 0.5 * bernoulli_kl(said, logits)

    def step(self):
        if self.arguments.what == "infer":
            with torch.no_grad():
                return self.answer(self.images)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.losses(self.images, self.masks)
        loss.backward()
        self.optimizer.step()
        return loss

    def wait(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self):
        for _ in range(self.arguments.warmup):
            self.step()
        self.wait()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(self.arguments.steps):
                self.step()
            self.wait()
            times.append(1e3 * (time.perf_counter() - start) / self.arguments.steps)
        return statistics.median(times)


def measure(arguments, precision, compiled):
    if arguments.device == "cuda":
        gc.collect()  # the mode before, whose methods refer to it, is alive until then
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    milliseconds = Bench(arguments, precision, compiled).milliseconds()
    peak = torch.cuda.max_memory_allocated() / 2**20 if arguments.device == "cuda" else None
    return {"ms": milliseconds, "images_per_second": 1e3 * arguments.batch / milliseconds, "peak_mib": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "distill", "infer"))
    parser.add_argument("--model", default="unet/resnet18")
    parser.add_argument("--teacher", default="unet/resnext101_32x8d")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=6)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--compile", nargs="*", choices=("default", "reduce-overhead", "max-autotune"),
                        default=("reduce-overhead", "max-autotune"), help="modes of torch.compile; none: eager alone")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=400, help="begin no further mode after so many")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    begin = time.monotonic()
    report = {"what": arguments.what, "network": arguments.model, "size": arguments.size, "batch": arguments.batch,
              "version": torch.__version__, "modes": []}
    if arguments.what == "distill":
        report["teacher"] = arguments.teacher
    # What compiles quickly first, for all precisions.
    for compiled in (None, *arguments.compile):
        for precision in arguments.precisions:
            row = {"precision": precision, "mode": compiled or "eager"}
            if time.monotonic() - begin > arguments.seconds:
                row["failed"] = "left out: no time"
            else:
                try:
                    if compiled:
                        torch.compiler.reset()
                    row.update(measure(arguments, precision, compiled))
                except Exception as error:  # a mode that a machine cannot do is a row of the table too
                    row["failed"] = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            report["modes"].append(row)
            print(json.dumps(row), flush=True)
    if arguments.json:  # at once: half a report would count as done
        with open(arguments.json + ".part", "w") as out:
            json.dump(report, out, indent=1)
        os.replace(arguments.json + ".part", arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
