"""Step time of the gpt-nano and gpt-micro presets in PyTorch eager on the CPU: the same model, batch and optimizer as
`starling bench engine`, for a comparison on the same machine in the same minute.

    python scripts/bench/pytorch-step.py [--threads 2] [--steps 40]

Prints one JSON object: milliseconds per step and per forward pass, medians.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

PRESETS = {
    "gpt-nano": dict(layers=4, width=128, heads=4, hidden=320),
    "gpt-micro": dict(layers=6, width=256, heads=4, hidden=688),
}
VOCABULARY, CONTEXT, ROWS = 256, 64, 16


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


def rotate(x, cosine, sine):
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat((-second, first), -1) * sine


class Layer(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_norm = RmsNorm(width), RmsNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x, cosine, sine, mask):
        rows, tokens, width = x.shape
        size = width // self.heads
        h = self.attention_norm(x)
        q, k, v = (f(h).view(rows, tokens, self.heads, size).transpose(1, 2) for f in (self.query, self.key, self.value))
        q, k = rotate(q, cosine, sine), rotate(k, cosine, sine)
        weights = torch.softmax(q @ k.transpose(-1, -2) / size**0.5 + mask, -1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(rows, tokens, width))
        h = self.feed_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Decoder(nn.Module):
    def __init__(self, layers, width, heads, hidden):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.layers = nn.ModuleList(Layer(width, heads, hidden) for _ in range(layers))
        self.norm = RmsNorm(width)
        self.head = nn.Linear(width, VOCABULARY, bias=False)
        size = width // heads
        angles = torch.outer(torch.arange(CONTEXT).float(), 10_000 ** (-torch.arange(0, size, 2).float() / size)).repeat(1, 2)
        self.register_buffer("cosine", angles.cos())
        self.register_buffer("sine", angles.sin())
        self.register_buffer("mask", torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1))

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.cosine, self.sine, self.mask)
        return self.head(self.norm(x))


def measure(function, count):
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        function()
        times.append((time.perf_counter() - begin) * 1000)
    return round(statistics.median(times[count // 4 :]), 2)


def bench(preset, steps):
    torch.manual_seed(1)
    model = Decoder(**PRESETS[preset])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    inputs = torch.randint(0, VOCABULARY, (ROWS, CONTEXT))
    targets = torch.randint(0, VOCABULARY, (ROWS * CONTEXT,))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs).view(-1, VOCABULARY), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def forward():
        with torch.no_grad():
            F.cross_entropy(model(inputs).view(-1, VOCABULARY), targets)

    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "stepMilliseconds": measure(step, steps),
        "forwardMilliseconds": measure(forward, steps),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps({"torch": torch.__version__, "threads": options.threads} | {p: bench(p, options.steps) for p in PRESETS}))
