#!/usr/bin/env python3
"""A yardstick for the benchmark: what the usual PyTorch pipeline needs for one window of an EfficientAT network.

Log-mel of the whole window (torch.stft, one matrix product) and a MobileNetV3 run from a checkpoint's state
dict, on one thread, as a Python service would do it for every hop. The mel filter bank is computed once, which
is kinder than the original. Runs on a developer's machine only, where torch is installed; prints JSON:

  {"torch": "1.13.1", "fast_blas": true, "windows": 20, "interval_s": 1.0, "cpu_ms": {"total": …, "features": …, "network": …},
   "rss_mb": …, "max_abs_difference": … or null}

cpu_ms are means of process CPU time per window. Where torch runs on the reference BLAS (Debian without
libopenblas0-pthread) its matrix products take several times as long: then fast_blas is false and the figures are
no fair yardstick. With --check, the probabilities of the recording are compared
with a file of float32 values.
"""

import argparse
import json
import math
import resource
import statistics
import sys
import time
import wave

import numpy as np
import torch
import torch.nn.functional as F

SAMPLE_RATE, N_FFT, WIN, HOP, MELS, F_MIN, F_MAX = 32000, 1024, 800, 320, 128, 0.0, 15000.0

# MobileNetV3-Large, for features.1 to features.15: stride and whether the activation is hard-swish. Kernel sizes,
# widths and squeeze-and-excitation can be read off the weights.
BLOCKS = [(1, False), (2, False), (1, False), (2, False), (1, False), (1, False), (2, True), (1, True), (1, True),
          (1, True), (1, True), (1, True), (2, True), (1, True), (1, True)]
BATCH_NORM_EPSILON = 1e-3


def mel_bank():
    """Kaldi's triangular filters, [mels, N_FFT / 2 + 1]: linear in mel = 1127 ln(1 + f / 700), not normalised."""
    def mel(hz):
        return 1127.0 * torch.log1p(torch.as_tensor(hz, dtype=torch.float64) / 700.0)

    low, high = mel(F_MIN), mel(F_MAX)
    edges = low + (high - low) * torch.arange(MELS + 2, dtype=torch.float64) / (MELS + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = mel(torch.arange(N_FFT // 2, dtype=torch.float64) * SAMPLE_RATE / N_FFT)[None, :]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return F.pad(torch.clamp(torch.minimum(rising, falling), min=0), (0, 1)).float()


class LogMel:
    """EfficientAT's front end: (1, samples) to (1, 1, mels, frames)."""

    def __init__(self):
        self.bank = mel_bank()
        self.window = torch.hann_window(WIN, periodic=False)
        self.preemphasis = torch.tensor([[[-0.97, 1.0]]])

    def __call__(self, samples):
        emphasised = F.conv1d(samples[:, None], self.preemphasis)[:, 0]
        spectrum = torch.stft(emphasised, N_FFT, hop_length=HOP, win_length=WIN, window=self.window, center=True,
                              return_complex=True)
        power = spectrum.real ** 2 + spectrum.imag ** 2
        log_mel = torch.log(torch.matmul(self.bank, power) + 1e-5)
        return ((log_mel + 4.5) / 5.0)[:, None]


class MobileNetV3:
    """(1, 1, mels, frames) to probabilities (1, labels)."""

    def __init__(self, weights):
        self.weights = weights

    def norm(self, x, prefix):
        w = self.weights
        return F.batch_norm(x, w[f"{prefix}.running_mean"], w[f"{prefix}.running_var"], w[f"{prefix}.weight"],
                            w[f"{prefix}.bias"], False, 0.0, BATCH_NORM_EPSILON)

    def conv(self, x, prefix, stride=1, activation=None):
        """Convolution and batch norm; depthwise where the weight has one input channel of many."""
        weight = self.weights[f"{prefix}.0.weight"]
        groups = x.shape[1] // weight.shape[1]
        x = self.norm(F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2, groups=groups), f"{prefix}.1")
        return activation(x) if activation is not None else x

    def squeeze(self, x, prefix):
        w = self.weights
        scale = x.mean((2, 3))
        scale = F.relu(F.linear(scale, w[f"{prefix}.fc1.weight"], w[f"{prefix}.fc1.bias"]))
        scale = torch.sigmoid(F.linear(scale, w[f"{prefix}.fc2.weight"], w[f"{prefix}.fc2.bias"]))
        return x * scale[:, :, None, None]

    def block(self, x, prefix, stride, activation):
        y, step = x, 0
        # Without an expansion the depthwise convolution comes first.
        if self.weights[f"{prefix}.0.0.weight"].shape[2] == 1:
            y, step = self.conv(y, f"{prefix}.0", 1, activation), 1
        y = self.conv(y, f"{prefix}.{step}", stride, activation)
        gate = f"{prefix}.{step + 1}.conc_se_layers.0"
        if f"{gate}.fc1.weight" in self.weights:
            y, step = self.squeeze(y, gate), step + 1
        y = self.conv(y, f"{prefix}.{step + 1}")
        return x + y if x.shape == y.shape else y

    def __call__(self, x):
        w = self.weights
        x = self.conv(x, "features.0", 2, F.hardswish)
        for index, (stride, hard_swish) in enumerate(BLOCKS, start=1):
            x = self.block(x, f"features.{index}.block", stride, F.hardswish if hard_swish else F.relu)
        x = self.conv(x, "features.16", 1, F.hardswish)
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)
        x = F.hardswish(F.linear(x, w["classifier.2.weight"], w["classifier.2.bias"]))
        return torch.sigmoid(F.linear(x, w["classifier.5.weight"], w["classifier.5.bias"]))


def fast_blas():
    """Whether matrix products run on an optimised library, inside torch (MKL) or beside it."""
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        loaded = maps.read().lower()
    return torch.backends.mkl.is_available() or any(name in loaded for name in ("openblas", "blis", "libmkl"))


def read_wav(path):
    with wave.open(path, "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, SAMPLE_RATE):
            sys.exit(f"{path} has to be a mono 16-bit recording at {SAMPLE_RATE} Hz.")
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return torch.from_numpy(samples.astype(np.float32) / 32768.0)[None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("recording", help="mono 16-bit wav at 32 kHz; its first 10 s are the window")
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--interval", type=float, default=0.0, help="seconds between two windows; 0: back to back")
    parser.add_argument("--check", help="float32 file of the probabilities to expect")
    args = parser.parse_args()

    torch.set_num_threads(1)
    log_mel, network = LogMel(), MobileNetV3(torch.load(args.checkpoint, map_location="cpu"))
    samples = read_wav(args.recording)[:, : 10 * SAMPLE_RATE]
    features, networks = [], []
    with torch.no_grad():
        for _ in range(3):
            probabilities = network(log_mel(samples))
        start = time.monotonic()
        for window in range(args.windows):
            time.sleep(max(0.0, start + window * args.interval - time.monotonic()))
            begin = time.process_time()
            x = log_mel(samples)
            middle = time.process_time()
            probabilities = network(x)
            features.append(middle - begin)
            networks.append(time.process_time() - middle)

    difference = None
    if args.check is not None:
        expected = np.fromfile(args.check, dtype="<f4")
        difference = float(np.abs(probabilities[0].numpy() - expected).max())
        if not math.isfinite(difference) or difference > 1e-3:
            sys.exit(f"The network does not give what {args.check} says: they differ by {difference}.")
    print(json.dumps({
        "torch": torch.__version__,
        "fast_blas": fast_blas(),
        "windows": args.windows,
        "interval_s": args.interval,
        "cpu_ms": {
            "total": 1e3 * (statistics.fmean(features) + statistics.fmean(networks)),
            "features": 1e3 * statistics.fmean(features),
            "network": 1e3 * statistics.fmean(networks),
        },
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "max_abs_difference": difference,
    }))


if __name__ == "__main__":
    main()
