#!/usr/bin/env python3
"""Round trips of weights and networks between Decant and PyTorch, SMP, safetensors, ONNX Runtime.

    exchange.py PROGRAM     the decant program to test, build/release/bin/decant say

Prints one line per check with its figures; says what it skips, and why, where a package is missing.
Ends with 0 where nothing failed. Networks have random weights and random running moments.
"""

import importlib
import json
import pathlib
import subprocess
import sys
import tempfile

FAILED = []


def load(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"skipped where {name} is asked for: {error}")
        return None


torch = load("torch")
np = load("numpy")
smp = load("segmentation_models_pytorch")
st = load("safetensors.torch")
ort = load("onnxruntime")
onnx = load("onnx")


def decant(*words):
    result = subprocess.run([sys.argv[1], *map(str, words)], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"decant {' '.join(map(str, words))}: {result.stdout}{result.stderr}")
    return result.stdout


def check(name, error, allowed):
    verdict = "ok" if error <= allowed else "FAILED"
    print(f"{verdict:7}{name}: off by {error:.3g}, allowed {allowed:.3g}", flush=True)
    if error > allowed:
        FAILED.append(name)


def shake(model):
    """Moments of its own for every batch norm, so that one left out shows."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low in ((module.running_mean, -0.2), (module.running_var, 0.7),
                                (module.weight.data, 0.7), (module.bias.data, -0.2)):
                values.copy_(torch.rand(values.shape, generator=generator) * 0.5 + low)
    return model.eval()


def logits(model, x):
    with torch.no_grad():
        return model(x).numpy()


def spread(values):
    return float(values.max() - values.min())


NETWORKS = [("Unet", "resnet18"), ("Unet", "resnet34"), ("Unet", "resnet50"), ("Unet", "mobilenet_v2"),
            ("Linknet", "resnet18"), ("Linknet", "resnet34"), ("Linknet", "resnet50"),
            ("Linknet", "mobilenet_v2"), ("Linknet", "tu-tf_mobilenetv3_small_075"),
            ("Unet", "tu-tf_mobilenetv3_small_100")]


def run_onnx(path, x):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def check_network(folder, arch, encoder, classes):
    torch.manual_seed(0)
    name = f"{arch}/{encoder}"
    model = shake(getattr(smp, arch)(encoder, encoder_weights=None, classes=classes))
    theirs = folder / "theirs"
    model.save_pretrained(theirs)
    x = torch.randn(2, 3, 96, 64)
    expected = logits(model, x)

    # SMP's folder -> ours -> ONNX: what our network computes, in a runtime of others.
    exported = folder / "net.onnx"
    decant("export", theirs, "--out", exported)
    if onnx:
        onnx.checker.check_model(str(exported), full_check=True)
    if ort:
        check(f"{name}: their folder, our ONNX, ONNX Runtime",
              np.abs(run_onnx(exported, x.numpy()) - expected).max() / spread(expected), 1e-4)
        odd = np.random.default_rng(0).standard_normal((1, 3, 45, 71), np.float32)
        padded = torch.nn.functional.pad(torch.from_numpy(odd), (0, 96 - 71, 0, 64 - 45))
        there = logits(model, padded)[:, :, :45, :71]
        check(f"{name}: an image of 45 x 71, padded inside",
              np.abs(run_onnx(exported, odd) - there).max() / spread(there), 1e-4)

    # Their folder -> our folder, .pt and .safetensors -> SMP and PyTorch.
    ours = folder / "ours"
    decant("convert", theirs, ours)
    check(f"{name}: smp.from_pretrained of our folder",
          np.abs(logits(smp.from_pretrained(ours).eval(), x) - expected).max(), 0)
    for ending in ("pt", "safetensors"):
        file = folder / f"net.{ending}"
        decant("convert", theirs, file)
        state = (torch.load(file, weights_only=True) if ending == "pt" else st.load_file(file))
        fresh = getattr(smp, arch)(encoder, encoder_weights=None, classes=classes)
        fresh.load_state_dict(state)
        check(f"{name}: our .{ending} in PyTorch, weights only",
              np.abs(logits(fresh.eval(), x) - expected).max(), 0)
    again = folder / "again.safetensors"
    st.save_file({k: v.contiguous() for k, v in model.state_dict().items()}, again, {"format": "pt"})
    plain = folder / "plain.safetensors"
    decant("convert", folder / "net.pt", plain)
    check(f"{name}: bytes of the safetensors package's writer",
          0 if again.read_bytes() == plain.read_bytes() else 1, 0)

    # What torch.save writes, in both forms and with every name under "module.", comes back.
    prefixed = {f"module.{k}": v for k, v in model.state_dict().items()}
    spec = f"{arch.lower()}/{encoder.replace('tu-tf_mobilenetv3', 'mobilenet_v3')}:classes={classes}"
    for zipped in (True, False):
        saved = folder / "saved.pth"
        torch.save({"epoch": 3, "state_dict": prefixed}, saved, _use_new_zipfile_serialization=zipped)
        decant("convert", saved, ours, "--model", spec, "--strip", "module.")
        check(f"{name}: torch.save {'zip' if zipped else 'legacy'}, stripped, back in SMP",
              np.abs(logits(smp.from_pretrained(ours).eval(), x) - expected).max(), 0)


def check_inside(folder):
    """Resizing, normalisation and sigmoid inside the model."""
    torch.manual_seed(0)
    model = shake(smp.Unet("resnet18", encoder_weights=None))
    model.save_pretrained(folder / "theirs")
    exported = folder / "inside.onnx"
    decant("export", folder / "theirs", "--out", exported, "--size", 64, "--resize", "--normalize",
           "--probability", "--classes", "lesion")
    x = torch.rand(1, 3, 100, 140) * 255
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    small = torch.nn.functional.interpolate(x, (64, 64), mode="bilinear", align_corners=False)
    with torch.no_grad():
        p = model((small / 255 - mean) / std).sigmoid()
    expected = torch.nn.functional.interpolate(p, (100, 140), mode="bilinear", align_corners=False)
    check("resize, normalize and sigmoid inside", np.abs(run_onnx(exported, x.numpy()) - expected.numpy()).max(), 1e-4)
    if onnx:
        words = {p.key: p.value for p in onnx.load(exported).metadata_props}
        check("metadata", 0 if json.loads(words["classes"]) == ["lesion"] and words["threshold"] == "0.5" else 1, 0)


def check_arrays(folder):
    rng = np.random.default_rng(0)
    for dtype in ("f4", "f8", "i4", "i8", "u1"):
        array = (rng.standard_normal((3, 4)) * 100).astype(dtype)
        np.save(folder / "a.npy", np.asfortranarray(array))
        decant("convert", folder / "a.npy", folder / "a.pt")
        decant("convert", folder / "a.pt", folder / "b.npy")
        back = np.load(folder / "b.npy")
        check(f"numpy {dtype} through .pt", 0 if back.dtype == array.dtype and (back == array).all() else 1, 0)
        np.save(folder / "c.npy", array)
        check(f"numpy {dtype}: its own bytes", 0 if (folder / "c.npy").read_bytes() == (folder / "b.npy").read_bytes() else 1, 0)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if torch and np and smp and st:
            for i, (arch, encoder) in enumerate(NETWORKS):
                check_network(folder, arch, encoder, 1 + i % 3)
            if ort:
                check_inside(folder)
        if np:
            check_arrays(folder)
    print(f"{len(FAILED)} failed" + "".join(f"\n  {name}" for name in FAILED))
    return 1 if FAILED else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main())
