"""The workloads as torch modules, with Keras's defaults where they matter for the time (sizes, padding, statistics).

MODELS: name -> make() -> (module, loss(outputs, targets), optimizer(parameters)); images are (n, c, h, w), channels last.
"""
import torch
import torch.nn.functional as F
from torch import nn


class Same(nn.Module):
    """Keras's "same" padding: what is odd goes to the end."""

    def __init__(self, k, s):
        super().__init__()
        self.k, self.s = k, s

    def forward(self, x):
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // self.s) - 1) * self.s + self.k - size, 0)
            pads += [total // 2, total - total // 2]
        return F.pad(x, pads) if any(pads) else x


def conv(i, o, k, s=1, same=True, bias=True, groups=1):
    if not same or (s == 1 and k % 2):
        return nn.Conv2d(i, o, k, s, k // 2 if same else 0, bias=bias, groups=groups)
    return nn.Conv2d(i, o, 1, s, bias=bias) if k == 1 else nn.Sequential(Same(k, s), nn.Conv2d(i, o, k, s, bias=bias, groups=groups))


def separable(i, o):
    return nn.Sequential(conv(i, i, 3, bias=False, groups=i), nn.Conv2d(i, o, 1, bias=False))


def max_pool_same():
    return nn.Sequential(Same(3, 2), nn.MaxPool2d(3, 2))


class Global(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Last(nn.Module):
    """The last output of an LSTM."""

    def __init__(self, i, u):
        super().__init__()
        self.lstm = nn.LSTM(i, u, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0][:, -1]


class Qa(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Sequential(nn.Embedding(10000, 64), Last(64, 32)), nn.Sequential(nn.Embedding(10000, 32), Last(32, 16))
        self.out = nn.Linear(48, 500)

    def forward(self, text, question):
        return self.out(torch.cat([self.a(text), self.b(question)], 1))


class Posts(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20000, 256)
        parts, channels = [], 256
        for filters, pooled in ((128, True), (256, False), (256, True), (256, False), (256, False)):
            parts += [nn.Conv1d(channels, filters, 5), nn.ReLU()] + ([nn.MaxPool1d(5)] if pooled else [])
            channels = filters
        self.trunk, self.dense = nn.Sequential(*parts), nn.Linear(256, 128)
        self.age, self.income, self.gender = nn.Linear(128, 1), nn.Linear(128, 10), nn.Linear(128, 1)

    def forward(self, x):
        x = self.trunk(self.embedding(x).transpose(1, 2)).amax(2)
        x = F.relu(self.dense(x))
        return self.age(x), self.income(x), self.gender(x)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.out = Last(128, 32), nn.Linear(64, 1)

    def forward(self, a, b):
        return self.out(torch.cat([self.lstm(a), self.lstm(b)], 1))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.numbers = nn.Sequential(nn.Embedding(10000, 64), Last(64, 128)), nn.Linear(10, 64)
        self.a, self.b = nn.Linear(192, 10), nn.Linear(192, 1)

    def forward(self, text, numbers):
        c = torch.cat([self.text(text), F.relu(self.numbers(numbers))], 1)
        return self.a(c), self.b(c)


class Residual(nn.Module):
    """relu(branch(x) + shortcut(x)), the last relu optional."""

    def __init__(self, branch, shortcut=None, relu=True):
        super().__init__()
        self.branch, self.shortcut, self.relu = branch, shortcut, relu

    def forward(self, x):
        y = self.branch(x) + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(y) if self.relu else y


def resblock():
    parts, c = [conv(3, 64, 3)], 64
    for f, s in ((64, 1), (128, 2)):
        branch = nn.Sequential(conv(c, f, 3, s, bias=False), nn.BatchNorm2d(f), nn.ReLU(), conv(f, f, 3, bias=False), nn.BatchNorm2d(f))
        parts.append(Residual(branch, None if s == 1 else conv(c, f, 1, 2)))
        c = f
    return nn.Sequential(*parts, Global(), nn.Linear(128, 10))


def sepnet():
    parts, c = [conv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32), nn.ReLU()], 32
    for f in (64, 128, 128, 256):
        parts += [separable(c, f), nn.BatchNorm2d(f), nn.ReLU()] + ([max_pool_same()] if f != 64 else [])
        c = f
    return nn.Sequential(*parts, Global(), nn.Linear(256, 10))


def xception():
    def block(i, o, first_relu=True, convs=2, middle=None):
        parts, sizes = [], [i] + [middle or o] * (convs - 1) + [o]
        for n in range(convs):
            parts += ([nn.ReLU()] if n or first_relu else []) + [separable(sizes[n], sizes[n + 1]), nn.BatchNorm2d(sizes[n + 1])]
        return parts

    def down(i, o, first_relu=True, middle=None):
        branch = nn.Sequential(*block(i, o, first_relu, middle=middle), max_pool_same())
        return Residual(branch, nn.Sequential(conv(i, o, 1, 2, bias=False), nn.BatchNorm2d(o)), relu=False)

    parts = [conv(3, 32, 3, 2, same=False, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
             conv(32, 64, 3, same=False, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
             down(64, 128, first_relu=False), down(128, 256), down(256, 728)]
    parts += [Residual(nn.Sequential(*block(728, 728, convs=3)), relu=False) for _ in range(8)]
    parts += [down(728, 1024, middle=728)]
    for i, o in ((1024, 1536), (1536, 2048)):
        parts += [separable(i, o), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(*parts, Global(), nn.Linear(2048, 10))


def resnet50():
    parts, c = [nn.Conv2d(3, 64, 7, 2, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for f, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for n in range(blocks):
            s = stride if n == 0 else 1
            branch = nn.Sequential(nn.Conv2d(c, f, 1, s), nn.BatchNorm2d(f), nn.ReLU(), nn.Conv2d(f, f, 3, padding=1),
                                   nn.BatchNorm2d(f), nn.ReLU(), nn.Conv2d(f, 4 * f, 1), nn.BatchNorm2d(4 * f))
            parts.append(Residual(branch, None if n else nn.Sequential(nn.Conv2d(c, 4 * f, 1, s), nn.BatchNorm2d(4 * f))))
            c = 4 * f
    return nn.Sequential(*parts, Global(), nn.Linear(2048, 1000))


def mobilenetv2():
    def unit(i, o, k=1, s=1, groups=1, relu=True):
        return [conv(i, o, k, s, bias=False, groups=groups), nn.BatchNorm2d(o)] + ([nn.ReLU6()] if relu else [])

    parts, c = unit(3, 32, 3, 2), 32
    for t, f, n, s in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
        for i in range(n):
            wide, stride = c * t, s if i == 0 else 1
            branch = nn.Sequential(*(unit(c, wide) if t > 1 else []), *unit(wide, wide, 3, stride, wide), *unit(wide, f, relu=False))
            parts.append(Residual(branch, relu=False) if stride == 1 and c == f else branch)
            c = f
    return nn.Sequential(*parts, *unit(320, 1280), Global(), nn.Linear(1280, 1000))


def _adam(parameters):
    return torch.optim.Adam(parameters, 1e-3, fused=True)


def _rmsprop(parameters):
    return torch.optim.RMSprop(parameters, 1e-3, alpha=0.9, foreach=True)


def _momentum(parameters):
    return torch.optim.SGD(parameters, 0.01, momentum=0.9, fused=True)


def _class_loss(out, y):
    return F.cross_entropy(out, y)


def _posts_loss(out, y):
    return (0.25 * F.mse_loss(out[0], y[0]) + F.cross_entropy(out[1], y[1])
            + 10.0 * F.binary_cross_entropy_with_logits(out[2], y[2]))


def _mixed_loss(out, y):
    return F.cross_entropy(out[0], y[0]) + F.mse_loss(out[1], y[1])


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)), _class_loss, _adam),
    "cnn": (lambda: nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10)), _class_loss, _adam),
    "qa": (Qa, _class_loss, _rmsprop), "posts": (Posts, _posts_loss, _rmsprop),
    "siamese": (Siamese, F.binary_cross_entropy_with_logits, _adam), "mixed": (Mixed, _mixed_loss, _adam),
    "rows": (lambda: nn.Sequential(Last(28, 128), nn.Linear(128, 10)), _class_loss, _adam),
    "resblock": (resblock, _class_loss, _momentum), "sepnet": (sepnet, _class_loss, _adam), "xception": (xception, _class_loss, _adam),
    "resnet50": (resnet50, _class_loss, _momentum), "mobilenetv2": (mobilenetv2, _class_loss, _momentum),
}
