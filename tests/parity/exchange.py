#!/usr/bin/env python3
"""Round trips of weights and networks between Decant and PyTorch, SMP, safetensors, ONNX Runtime.

    exchange.py PROGRAM [NETWORK ..]

PROGRAM is the decant program to test, build/release/bin/decant say. NETWORK is a part of the names of the
networks to test, "MAnet" or "/vgg11_bn"; without it, all of them. Networks have random weights and running moments.
Prints one line per check with its figures; says what it skips, and why, where a package is missing.
Ends with 0 where nothing failed.
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
    ok = error <= allowed  # nan is not
    print(f"{'ok' if ok else 'FAILED':7}{name}: off by {error:.3g}, allowed {allowed:.3g}", flush=True)
    if not ok:
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
            ("Unet", "tu-tf_mobilenetv3_small_100"),
            ("UnetPlusPlus", "resnet18"), ("MAnet", "resnet18"), ("FPN", "resnet18"), ("PSPNet", "resnet18"),
            ("DeepLabV3", "resnet18"), ("DeepLabV3Plus", "efficientnet-b0"), ("Unet", "efficientnet-b0"),
            ("Unet", "vgg11_bn"), ("Unet", "tu-tf_mobilenetv3_large_075"), ("Unet", "resnext50_32x4d")]

# Whose steps depend on the image's size, so that an ONNX model is for one, and to what they pad it.
STRIDE_OF_ONE_SIZE = {"MAnet": 32, "PSPNet": 8, "DeepLabV3": 8, "DeepLabV3Plus": 16}


def run_onnx(path, x):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


class Network:
    """One of SMP's networks, its folder, and its logits of an image."""

    def __init__(self, folder, arch, encoder, classes):
        torch.manual_seed(0)
        self.name = f"{arch}/{encoder}"
        self.fresh = lambda: getattr(smp, arch)(encoder, encoder_weights=None, classes=classes)
        self.spec = f"{arch.lower()}/{encoder.replace('tu-tf_mobilenetv3', 'mobilenet_v3')}:classes={classes}"
        self.model = shake(self.fresh())
        self.folder = folder / "theirs"
        self.model.save_pretrained(self.folder)
        self.of_one_size = arch in STRIDE_OF_ONE_SIZE
        self.stride = STRIDE_OF_ONE_SIZE.get(arch, 32)
        self.x = torch.randn(2, 3, 64 if self.of_one_size else 96, 64)
        self.logits = logits(self.model, self.x)


def check_onnx(folder, network):
    """SMP's folder, read by us, exported: what our network computes, in a runtime of others."""
    exported = folder / "net.onnx"

    def export(*size):
        decant("export", network.folder, "--out", exported, *size)

    export(*(["--size", 64] if network.of_one_size else []))
    if onnx:
        onnx.checker.check_model(str(exported), full_check=True)
    if not ort:
        return
    check(f"{network.name}: their folder, our ONNX, ONNX Runtime",
          np.abs(run_onnx(exported, network.x.numpy()) - network.logits).max() / spread(network.logits), 1e-4)
    height, width = 45, 45 if network.of_one_size else 71
    odd = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    padded = torch.nn.functional.pad(torch.from_numpy(odd), (0, -width % network.stride, 0, -height % network.stride))
    there = logits(network.model, padded)[:, :, :height, :width]
    if network.of_one_size:
        export("--size", 45)
    check(f"{network.name}: an image of {height} x {width}, padded inside",
          np.abs(run_onnx(exported, odd) - there).max() / spread(there), 1e-4)


def check_files(folder, network):
    """Weights there and back in every form, to the same bits."""
    def off(model):
        return np.abs(logits(model.eval(), network.x) - network.logits).max()

    ours = folder / "ours"
    decant("convert", network.folder, ours)
    check(f"{network.name}: smp.from_pretrained of our folder", off(smp.from_pretrained(ours)), 0)
    for ending in ("pt", "safetensors"):
        file = folder / f"net.{ending}"
        decant("convert", network.folder, file)
        model = network.fresh()
        model.load_state_dict(torch.load(file, weights_only=True) if ending == "pt" else st.load_file(file))
        check(f"{network.name}: our .{ending} in PyTorch", off(model), 0)

    state = network.model.state_dict()
    theirs = folder / "theirs.safetensors"
    st.save_file({k: v.contiguous() for k, v in state.items()}, theirs, {"format": "pt"})
    decant("convert", folder / "net.pt", folder / "plain.safetensors")
    same = theirs.read_bytes() == (folder / "plain.safetensors").read_bytes()
    check(f"{network.name}: the bytes that the safetensors package writes", 0 if same else 1, 0)

    checkpoint = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    for zipped in (True, False):
        saved = folder / "saved.pth"
        torch.save(checkpoint, saved, _use_new_zipfile_serialization=zipped)
        decant("convert", saved, ours, "--model", network.spec, "--strip", "module.")
        check(f"{network.name}: torch.save, {'zip' if zipped else 'legacy'} form, stripped, back in SMP",
              off(smp.from_pretrained(ours)), 0)


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
    words = sys.argv[2:]
    for word in words:
        if not any(word in "/".join(network) for network in NETWORKS):
            sys.exit(f"NETWORK: expected a part of {', '.join(map('/'.join, NETWORKS))}, got {word}")
    asked = [network for network in NETWORKS if any(word in "/".join(network) for word in words or [""])]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        if torch and np and smp and st:
            for arch, encoder in asked:
                classes = 1 + NETWORKS.index((arch, encoder)) % 3
                network = Network(folder, arch, encoder, classes)
                check_onnx(folder, network)
                check_files(folder, network)
            if ort:
                check_inside(folder)
        if np:
            check_arrays(folder)
    print(f"{len(FAILED)} failed" + "".join(f"\n  {name}" for name in FAILED))
    return 1 if FAILED else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main())
