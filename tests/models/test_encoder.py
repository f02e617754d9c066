from __future__ import annotations

import math
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_niiv.models import convolution
from napari_niiv.models import encoder as encoder_module
from napari_niiv.models.encoder import Encoder


@pytest.fixture
def encoder() -> Encoder:
    """Random weights of every order."""
    encoder = Encoder(3, 4, 2, 5, (1.5, 10.0), degree=3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in encoder.parameters():
            weights.copy_(0.3 * torch.randn(weights.shape, generator=generator))
    return encoder.eval()


def picture(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def reference(encoder: Encoder, x: torch.Tensor, anisotropy: float) -> torch.Tensor:
    """EDSR of nn.Conv2d with padding_mode="replicate"; weights summed order by order."""
    low, high = map(math.log, encoder.anisotropy_range)
    t = min(max((2 * math.log(anisotropy) - low - high) / (high - low), -1), 1)
    chebyshev = [1.0, t]
    while len(chebyshev) <= encoder.degree:
        chebyshev.append(2 * t * chebyshev[-1] - chebyshev[-2])
    scales = [1.0] + [encoder_module._HIGHER] * encoder.degree
    layers = []
    for kernel, bias in zip(encoder.kernels, encoder.biases, strict=True):
        layer = nn.Conv2d(kernel.shape[2], kernel.shape[1], 3, padding=1, padding_mode="replicate")
        layer.weight = nn.Parameter(sum(s * c * k for s, c, k in zip(scales, chebyshev, kernel, strict=False)))
        layer.bias = nn.Parameter(sum(s * c * b for s, c, b in zip(scales, chebyshev, bias, strict=False)))
        layers.append(layer)
    head = y = layers[0](x)
    for first, second in zip(layers[1:-2:2], layers[2:-2:2], strict=True):
        y = y + second(F.relu(first(y)))
    return layers[-1](layers[-2](y) + head)


@pytest.mark.parametrize("anisotropy", [1.5, 2.0, 3.7, 8.0, 10.0])
@pytest.mark.parametrize("size", [(9, 7), (1, 6), (6, 1), (1, 1)])
def test_it_is_the_plain_network(encoder: Encoder, anisotropy: float, size: tuple[int, int]) -> None:
    x = picture(2, 3, *size).double()
    encoder.double()
    expected = reference(encoder, x, anisotropy)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x, anisotropy), expected)
    torch.testing.assert_close(encoder.train()(x, anisotropy), expected)


@pytest.mark.parametrize("size", [(5, 4), (1, 3), (3, 1), (2, 2), (1, 1)])
def test_padding_and_its_gradient(size: tuple[int, int]) -> None:
    x = picture(2, 3, *size).double().requires_grad_()
    torch.testing.assert_close(convolution._replicate(x), F.pad(x, (1, 1, 1, 1), mode="replicate"))
    assert torch.autograd.gradcheck(convolution._Replicate.apply, (x,))


def test_gradients_of_the_network_are_those_of_the_plain_one(encoder: Encoder) -> None:
    encoder.double().train()
    x = picture(1, 3, 5, 6).double().requires_grad_()
    weights = [x, *encoder.parameters()]
    ours = torch.autograd.grad(encoder(x, 3.7).square().sum(), weights)
    low = reference_gradients(encoder, x)
    for a, b in zip(ours, low, strict=True):
        torch.testing.assert_close(a, b)


def reference_gradients(encoder: Encoder, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The same through F.pad and the folded weights, by autograd alone."""
    weights = iter(encoder.weights(3.7))

    def layer(y: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), *next(weights))

    head = y = layer(x)
    for _ in range(2):
        y = y + layer(F.relu(layer(y)))
    out = layer(layer(y) + head)
    return torch.autograd.grad(out.square().sum(), [x, *encoder.parameters()])


def test_receptive_radius_is_exact(encoder: Encoder) -> None:
    r = encoder.receptive_radius
    x = picture(1, 3, 2 * r + 3, 2 * r + 5).requires_grad_()
    y = encoder(x, 4.0)
    (gradient,) = torch.autograd.grad(y[0, :, r + 1, r + 2].sum(), x)
    touched = gradient[0].abs().sum(0) > 0
    rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
    assert (rows.min(), rows.max()) == (1, 2 * r + 1)
    assert (columns.min(), columns.max()) == (2, 2 * r + 2)


def test_anisotropies_beyond_the_range_are_its_ends(encoder: Encoder) -> None:
    x = picture(1, 3, 6, 6)
    with torch.no_grad():
        for beyond, end in ((1.0, 1.5), (16.0, 10.0)):
            torch.testing.assert_close(encoder(x, beyond), encoder(x, end))
        assert (encoder(x, 1.5) - encoder(x, 10.0)).abs().max() > 0.1


def test_degree_zero_ignores_the_anisotropy() -> None:
    encoder = Encoder(1, 4, 1, 2, degree=0).eval()
    x = picture(1, 1, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x, 2.0), encoder(x, 9.0), atol=0, rtol=0)


def test_folded_weights_are_kept_for_one_anisotropy(encoder: Encoder) -> None:
    with torch.no_grad():
        first = encoder.weights(3.0)
        assert encoder.weights(3.0) is first
        assert encoder.weights(4.0) is not first
    with torch.inference_mode():
        held = encoder.weights(4.0)
    assert encoder.weights(4.0) is not held, "weights to be trained are folded anew, with their graph"
    assert encoder.weights(4.0)[0][0].requires_grad


@pytest.mark.parametrize("change", ["load_state_dict", "load into the whole", "train", "to", "step while training"])
def test_changed_weights_are_folded_anew(encoder: Encoder, change: str) -> None:
    x = picture(1, 3, 5, 5)
    whole = nn.Sequential(encoder)
    if change == "step while training":
        encoder.train()
    with torch.no_grad():
        before = encoder(x, 3.0)
        double = {key: 2 * value for key, value in encoder.state_dict().items()}
        if change == "load_state_dict":
            encoder.load_state_dict(double)
        elif change == "load into the whole":
            whole.load_state_dict({f"0.{key}": value for key, value in double.items()})
        elif change == "to":
            encoder.to(torch.float64)
            x = x.double()
        else:
            for weights in encoder.parameters():
                weights.mul_(2)
            if change == "train":
                encoder.train().eval()
        after = encoder(x, 3.0)
        torch.testing.assert_close(after, reference(encoder, x, 3.0), atol=1e-3, rtol=1e-4)
        assert after.dtype == x.dtype
        assert change == "to" or (after - before).abs().max() > 0.1


def test_threads_with_different_anisotropies_do_not_mix(encoder: Encoder) -> None:
    """Between finding weights folded and using them, another thread may fold its own."""
    with torch.no_grad():
        expected = [k.clone() for k, _ in encoder.weights(2.0)]

        class Meddling(float):
            def __eq__(self, other: object) -> bool:
                same = float(self) == other
                thread = threading.Thread(target=in_thread)
                thread.start()
                thread.join()
                return same

            __hash__ = float.__hash__

        def in_thread() -> None:
            with torch.no_grad():
                encoder.weights(9.0)

        found = encoder.weights(Meddling(2.0))
    for (kernel, _), right in zip(found, expected, strict=True):
        torch.testing.assert_close(kernel, right)


def test_it_can_be_interrupted(encoder: Encoder) -> None:
    def stop() -> None:
        raise KeyError("stop")

    with torch.no_grad(), pytest.raises(KeyError):
        encoder(picture(1, 3, 5, 5), 3.0, stop)


@pytest.mark.parametrize("size", [(9, 7), (1, 6), (1, 1)])
@pytest.mark.parametrize("level", [0.0, 0.05])
def test_biases_that_are_passed_on_make_no_difference(size: tuple[int, int], level: float) -> None:
    encoder = Encoder(3, 4, 2, 5, (1.5, 10.0), degree=3, noise=0.1).double().eval().requires_grad_(False)
    encoder.precision = torch.float64
    with torch.no_grad():
        for weights in encoder.parameters():
            weights.copy_(0.3 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(weights.numel())))
        x = picture(2, 3, *size).double()
        lean = encoder.lean_weights(4.0, level)
        assert [bias is None for _, bias in lean] == [True, False, True, False, True, True, False]
        layers = iter(lean)

        def layer(y: torch.Tensor) -> torch.Tensor:
            return F.conv2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), *next(layers))

        head = y = layer(x)
        for _ in range(2):
            y = y + layer(F.relu(layer(y)))
        torch.testing.assert_close(layer(layer(y) + head), encoder(x, 4.0, level=level), rtol=0, atol=1e-5)
        assert encoder.lean_weights(4.0, level) is lean
        encoder.biases[2].add_(1)
        encoder.forget()
        assert encoder.lean_weights(4.0, level) is not lean


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("channels", [3, 4, 8, 20, 64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_one_kernel_of_a_gpu_replicates_alike(channels: int, dtype: torch.dtype) -> None:
    whole = picture(2, channels, 7, 9).to("cuda", dtype).to(memory_format=torch.channels_last)
    for x in (whole, whole[:, :, 2:5, 1:8], whole[1:]):
        for shed in ((0, 0, 0, 0), (1, 0, 0, 0), (1, 1, 0, 0), (0, 1, 1, 0), (1, 1, 1, 1)):
            result = convolution._replicate_at_once(x, shed)
            assert torch.equal(result, convolution._replicate(x, shed))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_answers_as_the_plain_network(encoder: Encoder) -> None:
    wide = Encoder(8, 16, 3, 8, (1.5, 10.0), degree=3).eval().requires_grad_(False)
    x = picture(2, 8, 12, 20)
    expected = reference(wide, x, 4.0)
    with torch.inference_mode():
        wide.cuda().precision = torch.float16
        torch.testing.assert_close(wide(x.cuda(), 4.0).float().cpu(), expected, rtol=0, atol=5e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("level", [0.0, 0.02, 0.1])
def test_a_gpu_is_told_the_noise_in_all_weights(level: float) -> None:
    told = Encoder(8, 16, 3, 8, (1.5, 10.0), degree=3, noise=0.1).eval().requires_grad_(False)
    for weights in told.parameters():
        weights[-1] = 0.5 * picture(*weights.shape[1:]) * weights[0].std()
    x = picture(2, 8, 12, 20)
    with torch.inference_mode():
        expected, without = told(x, 4.0, level=level), told(x, 4.0)
        assert level == 0 or (expected - without).abs().max() > 0.05
        told.cuda().precision = torch.float16
        torch.testing.assert_close(told(x.cuda(), 4.0, level=level).float().cpu(), expected, rtol=0, atol=5e-3)
