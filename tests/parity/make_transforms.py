#!/usr/bin/env python3
"""Golden images for tests/data/albumentations_test.cpp, from Albumentations 1.3.1 or 2.0.8.

    pip install albumentations==1.3.1 'numpy<2' 'opencv-python-headless<4.11'
    python make_transforms.py albumentations/1.3.1.safetensors
    pip install albumentations==2.0.8 opencv-python-headless==4.11.0.86
    python make_transforms.py albumentations/2.0.8.safetensors

Only transforms are compared, not random numbers: what a transform draws is pinned by ranges of one
number, or, where it draws more than that, handed to Albumentations here and to Decant there. Every
case holds the dictionary that to_dict writes of it, so reading that is compared too. The images
are synthetic and smooth: OpenCV interpolates at 1/32 pixel, which on an edge of 255 levels is 4.
"""
import json
import struct
import sys

import albumentations as A
import numpy as np

V2 = A.__version__.startswith("2.")
HEIGHT, WIDTH = 37, 48


def images():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    waves = [
        np.sin(x / 4.1 + 0.3) * np.cos(y / 5.3),
        np.cos(x / 3.7 - y / 6.1),
        np.sin((x + 2 * y) / 7.9),
    ]
    blob = np.exp(-((x - 30) ** 2 + (y - 14) ** 2) / 60)
    planes = [118 + 55 * w + s * blob for w, s in zip(waves, (70, -60, 40))]
    rgb = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    mask = ((x - 26) ** 2 / 90 + (y - 17) ** 2 / 50 < 1).astype(np.uint8)
    mask[5:11, 4:15] = 1
    return {"grey": np.ascontiguousarray(rgb[..., 0]), "rgb": rgb, "mask": mask}


INPUT = images()
RNG = np.random.RandomState(7)
tensors = {"input/" + name: image for name, image in INPUT.items()}
cases = []


def keep(name, image, mask=None):
    tensors[f"{name}/image"] = np.ascontiguousarray(image)
    if mask is not None:
        tensors[f"{name}/mask"] = np.ascontiguousarray(mask)


def case(name, transform, image="grey"):
    """A transform that draws nothing, or from ranges of one number."""
    pipeline = A.Compose([transform])
    out = pipeline(image=INPUT[image], mask=INPUT["mask"])
    cases.append({"name": name, "image": image, "dictionary": A.to_dict(pipeline)})
    keep(name, out["image"], out["mask"])


def injected(name, what, numbers, image_out, mask_out, image="grey", **arguments):
    cases.append({"name": name, "image": image, "inject": what, **arguments})
    for key, value in numbers.items():
        tensors[f"{name}/{key}"] = np.ascontiguousarray(value)
    keep(name, image_out, mask_out)


def outside(border, fill=0, fill_mask=0, names=("border_mode", "value", "mask_value")):
    names = ("border_mode", "fill", "fill_mask") if V2 else names
    return dict(zip(names, (border, fill, fill_mask)))


def geometry():
    affine_names = ("mode", "cval", "cval_mask")
    case("horizontal flip", A.HorizontalFlip(p=1), "rgb")
    case("vertical flip", A.VerticalFlip(p=1), "rgb")
    turn = dict(rotate_limit=(17, 17), scale_limit=(0.13, 0.13), p=1,
                shift_limit_x=(0.06, 0.06), shift_limit_y=(-0.04, -0.04))
    for border in range(5):
        where = outside(border, 90, 1)
        case(f"shift scale rotate, border {border}", A.ShiftScaleRotate(**turn, **where))
    case("shift scale rotate, rgb", A.ShiftScaleRotate(**turn, **outside(4)), "rgb")
    skew = dict(scale={"x": (1.2, 1.2), "y": (0.85, 0.85)}, rotate=(20, 20), p=1,
                shear={"x": (8, 8), "y": (-5, -5)})
    percent = {"x": (0.11, 0.11), "y": (-0.07, -0.07)}
    pixels = {"x": (3, 3), "y": (-2, -2)}
    case("affine, percent", A.Affine(**skew, translate_percent=percent,
                                     **outside(0, 30, 1, affine_names)))
    case("affine, pixels", A.Affine(**skew, translate_px=pixels, **outside(4, 0, 0, affine_names)),
         "rgb")
    case("affine, only shear", A.Affine(shear={"x": (12, 12), "y": (0, 0)}, p=1,
                                        **outside(1, 0, 0, affine_names)))
    case("affine, keep_ratio", A.Affine(scale=(1.3, 1.3), keep_ratio=True, rotate=(-31, -31), p=1))
    case("resize down", A.Resize(23, 31), "rgb")
    case("resize up", A.Resize(64, 70))
    for border in (0, 1, 2, 4):
        case(f"pad, border {border}", A.PadIfNeeded(60, 57, **outside(border, 7, 1)))


def pixels():
    both = dict(brightness_limit=(0.17, 0.17), contrast_limit=(-0.3, -0.3), p=1)
    case("brightness and contrast", A.RandomBrightnessContrast(**both), "rgb")
    case("brightness by mean", A.RandomBrightnessContrast(**both, brightness_by_max=False))
    case("contrast that clips", A.RandomBrightnessContrast(0, (0.9, 0.9), p=1))
    if V2:
        case("brightness in the safe range",
             A.RandomBrightnessContrast(**both, ensure_safe_range=True))
    for gamma in (60, 100, 170) if not V2 else (61, 100, 170):
        case(f"gamma {gamma}", A.RandomGamma((gamma, gamma), p=1))
    for clip, grid in ((2, (8, 8)), (4, (4, 3)), (1.3, (6, 37)), (40, (2, 2))):
        case(f"clahe {clip} {grid}", A.CLAHE((clip, clip), grid, p=1))
    case("clahe rgb", A.CLAHE((3, 3), (4, 4), p=1), "rgb")
    for size in (3, 5, 7, 9, 11):
        sigma = 1.1 if V2 else 0
        case(f"gaussian blur {size}", A.GaussianBlur((size, size), (sigma, sigma), p=1), "rgb")
    case("gaussian blur by sigma", A.GaussianBlur((0, 0), (1.7, 1.7), p=1))
    case("gaussian blur of both", A.GaussianBlur((5, 5), (1.7, 1.7), p=1))
    for size in (3, 5, 7):
        case(f"median blur {size}", A.MedianBlur((size, size), p=1), "rgb")
    case("normalize", A.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.4)), "rgb")


def compositions():
    case("one of one", A.OneOf([A.VerticalFlip(p=0.3)], p=1))
    case("some of all", A.SomeOf([A.VerticalFlip(p=1), A.HorizontalFlip(p=1)], n=2, replace=False))
    case("sequential", A.Sequential([A.VerticalFlip(p=1), A.RandomGamma((150, 150), p=1)], p=1))


def elastic(name, image, alpha=60.0, sigma=4.0, affine=3.0, border=4, fill=50, **options):
    shape = (HEIGHT, WIDTH)
    kind = dict(alpha=alpha, sigma=sigma, p=1, **outside(border, fill, 1), **options)
    uniform = [RNG.uniform(-1, 1, shape).astype(np.float32) for _ in range(2)]
    moves = RNG.uniform(-affine, affine, (3, 2))
    same = options.get("same_dxdy", False)
    if V2:
        class Drawn:
            def uniform(self, low, high, size):
                return np.stack(uniform[: size[0]])

        transform = A.ElasticTransform(noise_distribution="uniform", **kind)
        transform.random_generator = Drawn()
        maps = transform.get_params_dependent_on_data({"shape": shape}, {})
        out = transform.apply(INPUT[image], **maps)
        mask = transform.apply_to_mask(INPUT["mask"], **maps)
    else:
        def warp(what, image):
            drawn = iter(uniform)
            A.random_utils.uniform = lambda *_, **__: moves
            A.random_utils.rand = lambda *_, **__: (next(drawn).astype(np.float64) + 1) / 2
            return what(image, random_state=0)

        transform = A.ElasticTransform(alpha_affine=affine, **kind)
        out = warp(transform.apply, INPUT[image])
        mask = warp(transform.apply_to_mask, INPUT["mask"])
    numbers = {"x": uniform[0]} if same else {"x": uniform[0], "y": uniform[1]}
    injected(name, "elastic", numbers, out, mask, image, alpha=alpha, sigma=sigma, border=border,
             approximate=options.get("approximate", False),
             moves=None if V2 else moves.astype(np.float32).astype(float).ravel().tolist())


def grid(name, normalized, steps=5, border=4):
    stretch = [(1 + RNG.uniform(-0.4, 0.4, steps + 1)).tolist() for _ in range(2)]
    transform = A.GridDistortion(num_steps=steps, normalized=normalized, p=1,
                                 **outside(border, 50, 1))
    x, y = list(stretch[0]), list(stretch[1])
    if V2:
        from albumentations.augmentations.geometric import functional as F
        if normalized:
            both = F.normalize_grid_distortion_steps((HEIGHT, WIDTH), steps, x, y)
            x, y = both["steps_x"], both["steps_y"]
        map_x, map_y = F.generate_grid((HEIGHT, WIDTH), x, y, steps)
        maps = {"map_x": map_x, "map_y": map_y}
    else:
        maps = transform._normalize(HEIGHT, WIDTH, x, y) if normalized else {"stepsx": x, "stepsy": y}
    injected(name, "grid", {}, transform.apply(INPUT["grey"], **maps),
             transform.apply_to_mask(INPUT["mask"], **maps), x=stretch[0], y=stretch[1],
             normalized=normalized, border=border)


def holes(name, image, fill, fill_mask):
    where = [[3, 5, 11, 9], [40, 30, 48, 37], [10, 7, 30, 8]]
    if V2:
        transform = A.CoarseDropout(fill=fill, fill_mask=fill_mask, p=1)
        drawn = {"holes": np.array(where), "seed": 0}
        out = transform.apply(INPUT[image], **drawn)
        mask = transform.apply_to_mask(INPUT["mask"], **drawn)
    else:
        transform = A.CoarseDropout(fill_value=fill, mask_fill_value=fill_mask, p=1)
        out = transform.apply(INPUT[image], fill_value=fill, holes=where)
        mask = transform.apply_to_mask(INPUT["mask"], mask_fill_value=fill_mask, holes=where)
    injected(name, "holes", {}, out, mask, image, holes=where,
             fill=list(fill) if isinstance(fill, tuple) else [fill], fill_mask=fill_mask)


def distortions():
    elastic("elastic", "grey")
    elastic("elastic, rgb, constant", "rgb", border=0, fill=(50, 50, 50))
    elastic("elastic, approximate", "grey", alpha=20.0, approximate=True)
    elastic("elastic, one field", "grey", same_dxdy=True)
    elastic("elastic, wide", "grey", alpha=900.0, sigma=30.0)
    grid("grid", False)
    grid("grid, normalized", True)
    grid("grid, constant, 4 steps", False, 4, 0)
    grid("grid, normalized, 4 steps", True, 4)
    holes("holes", "grey", 33, None)
    holes("holes of a colour", "rgb", (10, 200, 30), 1)


def everything():
    """A pipeline of all known transforms with their defaults: to be read, not to be compared."""
    simple = ["HorizontalFlip", "VerticalFlip", "ShiftScaleRotate", "Affine", "ElasticTransform",
              "GridDistortion", "RandomBrightnessContrast", "RandomGamma", "CLAHE", "GaussianBlur",
              "MedianBlur", "CoarseDropout", "GaussNoise", "PixelDropout"]
    transforms = [getattr(A, name)() for name in simple]
    return A.to_dict(A.Compose([A.Resize(60, 60), A.PadIfNeeded(64, 64), A.RandomCrop(48, 48),
                                A.OneOf(transforms[:3]), A.SomeOf(transforms[3:], n=2),
                                A.Sequential(transforms), A.Normalize()]))


def write_safetensors(path, arrays, metadata):
    types = {np.dtype(np.uint8): "U8", np.dtype(np.float32): "F32"}
    header, blob = {"__metadata__": metadata}, b""
    for name in sorted(arrays):
        data = arrays[name].tobytes()
        header[name] = {"dtype": types[arrays[name].dtype], "shape": list(arrays[name].shape),
                        "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


geometry()
pixels()
compositions()
distortions()
write_safetensors(sys.argv[1], tensors,
                  {"version": A.__version__, "cases": json.dumps(cases),
                   "everything": json.dumps(everything())})
print(f"{len(cases)} cases of Albumentations {A.__version__}")
