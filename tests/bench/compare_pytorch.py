#!/usr/bin/env python3
"""Times Decant against PyTorch, or ONNX Runtime, on the same work, in turn, in one run.

    tests/bench/compare_pytorch.py                     # all rows; or by name: train:unet/resnet18 ...
    tests/bench/compare_pytorch.py train:thin_unet distill:thin_unet infer:unet/resnet18 --threads 1

Rows: train:MODEL, distill:MODEL (under a frozen Unet-resnet34, preset L_KLD), infer:MODEL (one image),
start:MODEL (a process, from its start to the end of its first training step).
Both sides have the same weights and the same batch, which `decant bench --save` writes, and first show
that they compute the same: the loss to 1e-4 of it, logits to 1e-3 of the largest. Of fresh batch norms the
gradient is a difference of nearly equal sums, so both are held against PyTorch's in float64: Decant's may
be five times as far from it as PyTorch's in float32 (four for Winograd's sums, engine/cpu/winograd.h, and
one for their order). Then they take turns, Decant first, for so many rounds; each side's figure is the median over
rounds of each round's median step, the ratio the median of the rounds' ratios (above 1: Decant is
faster).

PyTorch, 1.13 (Debian's python3-torch) or 2.x, runs at its best: channels_last, memory kept from going
back to the system between steps, Adam in one kernel, and for training eager as well as compiled where it
can. For inference
the peers are ONNX Runtime, where Python has it with onnx, and PyTorch. The peers stay in memory
from round to round, with what they have compiled; Decant starts afresh.

Peak memory is the process's high-water mark of its steps less what it had before the network was built.
Python and the libraries, loaded and used once before that, do not count against a peer, nor does
what prepares the comparison; Decant's is that of its whole run.
"""
import argparse
import gc
import importlib.util
import json
import mmap
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROWS = ("train:unet/resnet18", "train:unet/resnet34", "train:linknet/resnet50",
        "train:linknet/mobilenet_v3_small_075", "train:thin_unet", "distill:thin_unet",
        "infer:thin_unet", "infer:linknet/mobilenet_v3_small_075", "infer:unet/resnet18", "start:thin_unet")
TEACHER = "unet/resnet34"


def memory_mib(what):
    """VmRSS: what the process has; VmHWM: the most it had."""
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return float("nan")


def forget_high_water():
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def read_safetensors(path, prefixes=("",)):
    """Tensors whose names begin so. They are the file itself, and take no memory once they are dropped."""
    import torch
    kinds = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    start = 8 + struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__" or not name.startswith(tuple(prefixes)):
            continue
        begin, end = entry["data_offsets"]
        kind = kinds[entry["dtype"]]
        count = (end - begin) // torch.empty(0, dtype=kind).element_size()
        tensors[name] = torch.frombuffer(data, dtype=kind, count=count, offset=start + begin).reshape(entry["shape"])
    return tensors


def under(prefix, tensors):
    """In the order in which the network has them, which their numbers say: "state.0000.NAME"."""
    return [tensor for name, tensor in sorted(tensors.items()) if name.startswith(prefix)]


def adam(network):
    """In one kernel, where PyTorch has that for the CPU."""
    import torch
    parameters = list(network.parameters())
    try:
        return torch.optim.Adam(parameters, 3e-4, fused=True)
    except (RuntimeError, TypeError):
        return torch.optim.Adam(parameters, 3e-4)


def load_libraries(kind):
    """What PyTorch and ONNX Runtime load when they are first used does not count as a network's memory."""
    import torch
    if kind == "onnxruntime":
        import onnxruntime  # noqa: F401
        return

    def loss(x):
        return (layer(x) ** 2).mean()
    layer = torch.nn.Conv2d(1, 1, 3)
    optimizer = adam(layer)
    (torch.compile(loss) if kind == "compiled" else loss)(torch.ones(1, 1, 8, 8)).backward()
    optimizer.step()


class TrainingPeer:
    """A training step in PyTorch. Answers the number of steps it is asked for with their times."""

    def __init__(self, arguments, saved, compiled):
        import torch
        from torch.nn import functional as F
        from pytorch_networks import build, load_in_order

        def network(model, tensors):
            made = build(model)
            load_in_order(made, tensors)
            return made.to(memory_format=torch.channels_last)

        def losses(images, masks):
            said = None
            if self.teacher is not None:
                with torch.no_grad():
                    said = self.teacher(images)
            logits = self.network(images)
            loss = F.binary_cross_entropy_with_logits(logits, masks)
            if said is None:
                return loss
            p = torch.sigmoid(said)
            kl = (p * (said - logits) + F.softplus(logits) - F.softplus(said)).mean()
            return 0.5 * loss + 0.5 * kl

        self.network = network(arguments.model, under("state.", saved)).train()
        self.teacher = None
        if arguments.what == "distill":
            self.teacher = network(TEACHER, under("teacher.", saved)).eval()
        self.optimizer = adam(self.network)
        self.images = saved["images"].contiguous(memory_format=torch.channels_last).clone()
        self.masks = saved["masks"].clone()
        self.losses = torch.compile(losses) if compiled else losses
        loss = self.losses(self.images, self.masks).item()
        expected = float(saved["loss"])
        assert abs(loss - expected) <= 1e-4 * abs(expected), ("loss", loss, expected)
        self.agreement = f"loss {abs(loss - expected) / abs(expected):.1e}"

    def gradient(self, dtype):
        """Of the saved batch, all parameters in a row, in float64."""
        import torch
        for network in (self.network, self.teacher):
            if network is not None:
                network.to(dtype)
        self.optimizer.zero_grad(set_to_none=True)
        self.losses(self.images.to(dtype), self.masks.to(dtype)).backward()
        return torch.cat([p.grad.reshape(-1).double() for p in self.network.parameters()])

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.losses(self.images, self.masks).backward()
        self.optimizer.step()


def judge_gradients(arguments):
    """In a process of its own, whose memory counts for nobody: how far both gradients are from float64's."""
    import torch
    torch.set_num_threads(arguments.threads)
    saved = read_safetensors(arguments.saved)
    peer = TrainingPeer(arguments, saved, False)
    theirs = peer.gradient(torch.float32)
    exact = TrainingPeer(arguments, saved, False).gradient(torch.float64)
    ours = torch.cat([g.reshape(-1).double() for g in under("gradient.", saved)])

    def error(gradient):
        return (gradient - exact).norm().item() / exact.norm().item()
    print(json.dumps({"ours": error(ours), "theirs": error(theirs)}))


def time_start(arguments):
    """A process that makes a network and a batch of noise and takes one step."""
    import torch
    from torch.nn import functional as F
    from pytorch_networks import build
    torch.set_num_threads(arguments.threads)
    network = build(arguments.model).to(memory_format=torch.channels_last).train()
    optimizer = adam(network)
    images = torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    images = images.contiguous(memory_format=torch.channels_last)
    masks = (torch.rand(arguments.batch, 1, arguments.size, arguments.size) < 0.5).float()
    F.binary_cross_entropy_with_logits(network(images), masks).backward()
    optimizer.step()


def export_onnx(arguments):
    """In a process of its own, likewise: the network as ONNX beside the saved file."""
    import torch
    from pytorch_networks import build, load_in_order
    saved = read_safetensors(arguments.saved)
    network = build(arguments.model)
    load_in_order(network, under("state.", saved))
    torch.onnx.export(network.eval(), (saved["images"].contiguous(),), arguments.saved + ".onnx", dynamo=False)


class InferencePeer:
    """Answers for one image by ONNX Runtime, or by PyTorch."""

    def __init__(self, arguments, saved, onnx):
        import torch
        images = saved["images"].contiguous().clone()
        if onnx:
            import onnxruntime
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = arguments.threads
            session = onnxruntime.InferenceSession(arguments.saved + ".onnx", options,
                                                   providers=["CPUExecutionProvider"])
            name = session.get_inputs()[0].name
            feed = {name: images.numpy()}
            self.step = lambda: session.run(None, feed)[0]
        else:
            from pytorch_networks import build, load_in_order
            network = build(arguments.model)
            load_in_order(network, under("state.", saved))
            network = network.eval().to(memory_format=torch.channels_last)
            images = images.contiguous(memory_format=torch.channels_last)

            def step():
                with torch.no_grad():
                    return network(images).numpy()
            self.step = step
        expected = saved["logits"].numpy()
        error = abs(self.step() - expected).max() / abs(expected).max()
        assert error <= 1e-3, ("logits", error)
        self.agreement = f"logits {error:.1e}"


def serve(arguments):
    """The peer's process: one line with its figures for every line that asks for so many steps."""
    import torch
    torch.set_num_threads(arguments.threads)
    kind = arguments.serve
    load_libraries(kind)
    forget_high_water()
    before = memory_mib("VmRSS")
    saved = read_safetensors(arguments.saved, ("state.", "teacher.", "images", "masks", "loss", "logits"))
    if arguments.what == "infer":
        peer = InferencePeer(arguments, saved, kind == "onnxruntime")
    else:
        peer = TrainingPeer(arguments, saved, kind == "compiled")
    del saved
    version = torch.__version__
    if kind == "onnxruntime":
        import onnxruntime
        version = onnxruntime.__version__
    print(json.dumps({"version": version, "agreement": peer.agreement}), flush=True)
    for line in sys.stdin:
        times = []
        forget_high_water()
        for step in range(int(line) + 3):
            start = time.perf_counter()
            peer.step()
            if step >= 3:
                times.append(time.perf_counter() - start)
        print(json.dumps({"step_ms": 1e3 * statistics.median(times), "peak_mib": memory_mib("VmHWM") - before}),
              flush=True)


def python_command(kind, arguments, saved):
    return [sys.executable, "-W", "ignore", __file__, f"{arguments.what}:{arguments.model}", "--serve", kind,
            "--saved", saved, "--threads", str(arguments.threads), "--size", str(arguments.size)]


def python_environment(arguments):
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads),
                       MALLOC_MMAP_THRESHOLD_="8589934592", MALLOC_TRIM_THRESHOLD_="17179869184",
                       MALLOC_TOP_PAD_="268435456")
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)  # they would slow PyTorch down
    return environment


def end(*words):
    print("compare_pytorch:", *words, file=sys.stderr)
    raise SystemExit(2)


def run_or_end(command, **options):
    """Its output; where it fails, this program ends with the last line of what it said."""
    done = subprocess.run(command, text=True, **options)
    if done.returncode != 0:
        said = (done.stderr or "").strip().splitlines()
        end(said[-1] if said else f"{command[0]} ended with status {done.returncode}")
    return done.stdout


def run_python(kind, arguments, saved):
    return run_or_end(python_command(kind, arguments, saved), capture_output=True, env=python_environment(arguments))


class Peer:
    def __init__(self, kind, arguments, saved):
        self.kind = kind
        self.rounds = []
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(python_command(kind, arguments, saved), env=python_environment(arguments),
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.failed = None
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.log.seek(0)
        self.failed = (self.log.read().strip().splitlines() or ["it ended"])[-1]
        return {}

    def run(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.rounds.append(self.answer())

    def close(self):
        if not self.failed:
            self.process.stdin.close()
        self.process.wait()


def run_decant(arguments, *more):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        command = [arguments.decant, "bench", arguments.what, "--model", arguments.model, "--size", str(arguments.size),
                   "--batch", str(arguments.batch), "--threads", str(arguments.threads), "--json", report.name, *more]
        if arguments.what == "distill":
            command += ["--teacher", TEACHER]
        run_or_end(command, capture_output=True)
        return json.load(open(report.name))


def kinds_of(what):
    if what != "infer":
        import torch
        return ("eager", "compiled") if hasattr(torch, "compile") else ("eager",)
    try:
        import onnx, onnxruntime  # noqa: F401
        return ("onnxruntime", "eager")
    except ImportError:
        return ("eager",)


def compare_starts(arguments):
    decant = [arguments.decant, "bench", "train", "--model", arguments.model, "--size", str(arguments.size),
              "--batch", str(arguments.batch), "--threads", str(arguments.threads), "--warmup", "0", "--steps", "1"]
    times = {"decant": [], "PyTorch": []}
    for _ in range(arguments.rounds):
        for name, command in (("decant", decant), ("PyTorch", python_command("start", arguments, ""))):
            begin = time.perf_counter()
            run_or_end(command, capture_output=True, env=python_environment(arguments))
            times[name].append(time.perf_counter() - begin)
    ratios = [b / a for a, b in zip(times["decant"], times["PyTorch"])]
    print(f"start {arguments.model} and one training step, batch {arguments.batch}, "
          f"3 x {arguments.size} x {arguments.size}, {arguments.threads} threads, {arguments.rounds} rounds")
    print(f"  decant {statistics.median(times['decant']):.2f} s, PyTorch {statistics.median(times['PyTorch']):.2f} s, "
          f"ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})", flush=True)


def compare(arguments, failures):
    median = statistics.median
    steps = str(arguments.steps * (4 if arguments.what == "infer" else 1))
    if arguments.what == "start":
        return compare_starts(arguments)
    gradients = None
    kinds = [kind for kind in kinds_of(arguments.what) if not arguments.peers or kind in arguments.peers]
    if not kinds:
        end(f"--peers: expected one of {', '.join(kinds_of(arguments.what))} for {arguments.what}, "
            f"got {', '.join(arguments.peers)}")
    with tempfile.TemporaryDirectory() as folder:
        saved = folder + "/saved.safetensors"
        run_decant(arguments, "--steps", "1", "--save", saved)
        if arguments.what != "infer":
            gradients = json.loads(run_python("gradients", arguments, saved))
            if gradients["ours"] > 5 * gradients["theirs"]:
                end(f"{arguments.model}: the gradients disagree, from PyTorch's in float64 decant's lie "
                    f"{gradients['ours']:.1e} and PyTorch's {gradients['theirs']:.1e}")
        if "onnxruntime" in kinds:
            run_python("export", arguments, saved)
        peers = [Peer(kind, arguments, saved) for kind in kinds]
    ours = []
    for _ in range(arguments.rounds):
        ours.append(run_decant(arguments, "--steps", steps))
        for peer in peers:
            if not peer.failed:
                peer.run(steps)
    print(f"{arguments.what} {arguments.model}, batch {arguments.batch}, 3 x {arguments.size} x {arguments.size}, "
          f"{arguments.threads} threads, {arguments.rounds} rounds of {steps} steps")
    print(f"  {'decant':24s}{median(r['step_ms'] for r in ours):9.2f} ms   "
          f"peak {median(r['peak_mib'] for r in ours):6.0f} MiB")
    if gradients is not None:
        print(f"  gradients from PyTorch's in float64: decant's {gradients['ours']:.1e}, "
              f"PyTorch's in float32 {gradients['theirs']:.1e}")
    for peer in peers:
        name = "ONNX Runtime" if peer.kind == "onnxruntime" else f"PyTorch, {peer.kind}"
        if peer.failed:
            print(f"  {name:24s}  failed: {peer.failed[:120]}", flush=True)
            failures.append(f"{arguments.what}:{arguments.model}, {name}")
            continue
        ratios = [b["step_ms"] / a["step_ms"] for a, b in zip(ours, peer.rounds)]
        memory = median(r["peak_mib"] for r in ours) / median(r["peak_mib"] for r in peer.rounds)
        print(f"  {name:24s}{median(r['step_ms'] for r in peer.rounds):9.2f} ms   "
              f"peak {median(r['peak_mib'] for r in peer.rounds):6.0f} MiB   ratio {median(ratios):.2f} "
              f"({min(ratios):.2f} to {max(ratios):.2f}), memory {memory:.2f}   "
              f"{peer.about['version']}; differs by {peer.about['agreement']}")
        peer.close()
    sys.stdout.flush()


def positive(text):
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="WHAT:MODEL", help="default: " + " ".join(ROWS))
    parser.add_argument("--decant", default="build/release/bin/decant")
    parser.add_argument("--size", type=positive, default=224)
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--steps", type=positive, default=7)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--peers", nargs="+", choices=("eager", "compiled", "onnxruntime"),
                        help="of those that there are for the row, only these")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--saved", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    rows = [row.partition(":")[::2] for row in arguments.rows or ROWS]
    for what, model in rows:
        if what not in ("train", "distill", "infer", "start") or not model:
            end(f"expected train:MODEL, distill:MODEL, infer:MODEL or start:MODEL, got {what}:{model}")
    if not arguments.serve:
        if not shutil.which(arguments.decant):
            end(f"--decant: expected the program (built by the README's first command), got {arguments.decant}")
        if importlib.util.find_spec("torch") is None:
            end("expected Python with PyTorch (and onnx and onnxruntime for infer), got none; "
                "python3-torch or pip install torch onnx onnxruntime")
    failures = []
    for arguments.what, arguments.model in rows:
        arguments.batch = 1 if arguments.what == "infer" else 8
        if arguments.serve:
            servants = {"start": time_start, "gradients": judge_gradients, "export": export_onnx}
            return servants.get(arguments.serve, serve)(arguments)
        compare(arguments, failures)
    if failures:
        end("not compared:", "; ".join(failures))


if __name__ == "__main__":
    main()
