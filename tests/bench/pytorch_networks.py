"""The networks of `decant bench` in PyTorch, layer for layer, from nothing but PyTorch itself.

    build("unet/resnet18"), build("linknet/mobilenet_v3_small_075"), ...

Their parameter counts are those of `decant summary`; build() checks them.
"""
import torch
from torch import nn
from torch.nn import functional as F

PARAMETERS = {
    "unet/resnet18": 14328209,
    "unet/resnet34": 24436369,
    "unet/resnext101_32x8d": 95755409,
    "linknet/resnet50": 31177777,
    "linknet/mobilenet_v3_small_075": 815917,
    "thin_unet": 110313,
}


def conv_bn(inputs, outputs, kernel=3, stride=1, groups=1, act=True):
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
              nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if act else nn.Sequential(*layers)


class Residual(nn.Module):
    def __init__(self, inputs, planes, stride, bottleneck, groups, width):
        super().__init__()
        outputs = 4 * planes if bottleneck else planes
        if bottleneck:
            middle = planes * width // 64 * groups
            self.body = nn.Sequential(conv_bn(inputs, middle, 1), conv_bn(middle, middle, 3, stride, groups),
                                      conv_bn(middle, outputs, 1, act=False))
        else:
            self.body = nn.Sequential(conv_bn(inputs, planes, 3, stride), conv_bn(planes, planes, act=False))
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = conv_bn(inputs, outputs, 1, stride, act=False)

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    def __init__(self, blocks, bottleneck=False, groups=1, width=64):
        super().__init__()
        self.stem = conv_bn(3, 64, 7, 2)
        self.stages = nn.ModuleList()
        inputs = 64
        factor = 4 if bottleneck else 1
        self.channels = [64]
        for stage, count in enumerate(blocks):
            layers = []
            for i in range(count):
                layers.append(Residual(inputs, 64 << stage, 2 if stage and i == 0 else 1, bottleneck, groups, width))
                inputs = factor * (64 << stage)
            self.stages.append(nn.Sequential(*layers))
            self.channels.append(inputs)

    def forward(self, x):
        features = [self.stem(x)]
        x = F.max_pool2d(features[0], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def rounded(x):
    nearest = max(8, int(x + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * x else nearest


class SameConv(nn.Conv2d):
    """TensorFlow's SAME padding: what is odd goes after."""

    def forward(self, x):
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max(0, (-(-size // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - size)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), self.weight, None, self.stride, 0, 1, self.groups)


def mobile_conv(inputs, outputs, kernel, stride=1, depthwise=False, act=None):
    groups = inputs if depthwise else 1
    if stride > 1:
        conv = SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
    else:
        conv = nn.Conv2d(inputs, outputs, kernel, 1, kernel // 2, groups=groups, bias=False)
    norm = nn.BatchNorm2d(outputs, eps=1e-3)
    return nn.Sequential(conv, norm) if act is None else nn.Sequential(conv, norm, act(inplace=True))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.reduce = nn.Conv2d(channels, rounded(0.25 * channels), 1)
        self.expand = nn.Conv2d(rounded(0.25 * channels), channels, 1)

    def forward(self, x):
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    def __init__(self, inputs, middle, outputs, kernel, stride, squeeze, act):
        super().__init__()
        layers = [mobile_conv(inputs, middle, 1, act=act), mobile_conv(middle, middle, kernel, stride, True, act)]
        if squeeze:
            layers.append(SqueezeExcite(middle))
        self.body = nn.Sequential(*layers, mobile_conv(middle, outputs, 1))
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x):
        return self.body(x) + x if self.shortcut else self.body(x)


class MobileNetV3Small(nn.Module):
    BLOCKS = [(1, 3, 2, 4.5, 24, False), (1, 3, 1, 3.67, 24, False), (2, 5, 2, 4, 40, True), (2, 5, 1, 6, 40, True),
              (2, 5, 1, 6, 40, True), (3, 5, 1, 3, 48, True), (3, 5, 1, 3, 48, True), (4, 5, 2, 6, 96, True),
              (4, 5, 1, 6, 96, True), (4, 5, 1, 6, 96, True)]

    def __init__(self, width):
        super().__init__()
        inputs = rounded(16 * width)
        self.stem = mobile_conv(3, inputs, 3, 2, act=nn.Hardswish)
        self.first = nn.Sequential(mobile_conv(inputs, inputs, 3, 2, True, nn.ReLU), SqueezeExcite(inputs),
                                   mobile_conv(inputs, inputs, 1))
        self.channels = [inputs, inputs]
        self.stages = nn.ModuleList(nn.ModuleList() for _ in range(4))
        for stage, kernel, stride, expansion, outputs, squeeze in self.BLOCKS:
            outputs = rounded(outputs * width)
            act = nn.Hardswish if squeeze else nn.ReLU
            self.stages[stage - 1].append(
                Inverted(inputs, rounded(inputs * expansion), outputs, kernel, stride, squeeze, act))
            inputs = outputs
            if stage in (1, 3):
                self.channels[stage // 2 + 2:] = [outputs]
        self.last = mobile_conv(inputs, rounded(576 * width), 1, act=nn.Hardswish)
        self.channels.append(rounded(576 * width))

    def forward(self, x):
        features = [self.stem(x)]
        x = self.first(features[0])
        features.append(x)
        for i, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            if i in (0, 2):
                features.append(x)
        features.append(self.last(x))
        return features


class Unet(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.blocks = nn.ModuleList()
        inputs = encoder.channels[-1]
        for outputs, skip in zip((256, 128, 64, 32, 16), [*reversed(encoder.channels[:-1]), 0]):
            self.blocks.append(nn.Sequential(conv_bn(inputs + skip, outputs), conv_bn(outputs, outputs)))
            inputs = outputs
        self.head = nn.Conv2d(inputs, 1, 3, padding=1)

    def forward(self, x):
        features = self.encoder(x)
        x = features[-1]
        for block, skip in zip(self.blocks, [*reversed(features[:-1]), None]):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = block(x if skip is None else torch.cat([x, skip], 1))
        return self.head(x)


class Linknet(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.blocks = nn.ModuleList()
        channels = [32, *encoder.channels]
        for level in range(len(channels) - 1, 0, -1):
            quarter = channels[level] // 4
            self.blocks.append(nn.Sequential(
                conv_bn(channels[level], quarter, 1), nn.ConvTranspose2d(quarter, quarter, 4, 2, 1),
                nn.BatchNorm2d(quarter), nn.ReLU(inplace=True), conv_bn(quarter, channels[level - 1], 1)))
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, x):
        features = self.encoder(x)
        x = features[-1]
        for block, skip in zip(self.blocks, [*reversed(features[:-1]), None]):
            x = block(x)
            x = x if skip is None else x + skip
        return self.head(x)


def separable(inputs, outputs, stride=1):
    return nn.Sequential(conv_bn(inputs, inputs, 3, stride, groups=inputs), conv_bn(inputs, outputs, 1))


class ThinUnet(nn.Module):
    DOWN = (16, 24, 48, 96, 160)
    UP = (16, 32, 64, 96)

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, self.DOWN[0], 3, 2)
        self.levels = nn.ModuleList(nn.Sequential(separable(inputs, outputs, 2), separable(outputs, outputs))
                                    for inputs, outputs in zip(self.DOWN, self.DOWN[1:]))
        self.blocks = nn.ModuleList()
        inputs = self.DOWN[-1]
        for outputs, skip in zip(reversed(self.UP), reversed(self.DOWN[:-1])):
            self.blocks.append(separable(inputs + skip, outputs))
            inputs = outputs
        self.head = nn.Conv2d(inputs, 1, 1)

    def forward(self, x):
        features = [self.stem(x)]
        for level in self.levels:
            features.append(level(features[-1]))
        x = features.pop()
        for block in self.blocks:
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), features.pop()], 1))
        return F.interpolate(self.head(x), scale_factor=2, mode="bilinear")


def load_in_order(network, tensors):
    """Gives a network the tensors of another one of the same structure, whatever their names are."""
    state = network.state_dict()
    assert [tuple(t.shape) for t in state.values()] == [tuple(t.shape) for t in tensors], "another structure"
    network.load_state_dict(dict(zip(state, tensors)))


def build(name):
    if name == "thin_unet":
        network = ThinUnet()
        assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]
        return network
    decoder, _, encoder = name.partition("/")
    encoders = {
        "resnet18": lambda: ResNet((2, 2, 2, 2)),
        "resnet34": lambda: ResNet((3, 4, 6, 3)),
        "resnet50": lambda: ResNet((3, 4, 6, 3), True),
        "resnext101_32x8d": lambda: ResNet((3, 4, 23, 3), True, 32, 8),
        "mobilenet_v3_small_075": lambda: MobileNetV3Small(0.75),
    }
    decoders = {"unet": Unet, "linknet": Linknet}
    if decoder not in decoders or encoder not in encoders:
        raise SystemExit(f"expected thin_unet, or unet or linknet with one of {', '.join(encoders)}, got {name}; "
                         "this comparison has no other networks in PyTorch")
    network = decoders[decoder](encoders[encoder]())
    count = sum(p.numel() for p in network.parameters())
    assert count == PARAMETERS[name], (name, count, PARAMETERS[name])
    return network
