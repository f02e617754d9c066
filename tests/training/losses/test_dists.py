from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.ndimage import convolve
from torch import Tensor

from napari_niiv.errors import TrainingError
from napari_niiv.training.losses.dists import VGG16_VARIABLE, Dists, _similarities, load_dists

CPU = torch.device("cpu")
STAGES = [(64, [0, 2]), (128, [5, 7]), (256, [10, 12, 14]), (512, [17, 19, 21]), (512, [24, 26, 28])]
State = dict[str, Tensor]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These images are small: threads gain little, and wait for each other where another program keeps a core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def nothing_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights of this computer and no download: neither the variable, nor torch.hub's folder, nor torchvision."""
    monkeypatch.delenv(VGG16_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)


@pytest.fixture(scope="module")
def state() -> State:
    """Random weights of VGG16's shapes, whose features neither vanish nor grow."""
    generator = torch.Generator().manual_seed(0)
    weights: State = {}
    entering = 3
    for channels, layers in STAGES:
        for layer in layers:
            kernel = torch.randn(channels, entering, 3, 3, generator=generator)
            weights[f"{layer}.weight"] = kernel * (2 / (9 * entering)) ** 0.5
            weights[f"{layer}.bias"] = 0.1 * torch.randn(channels, generator=generator)
            entering = channels
    return weights


@pytest.fixture(scope="module")
def dists(state: State) -> Dists:
    return Dists(state)


def images(batch: int, channels: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random images and a darker, noisy form of them, in 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, channels, height, width, generator=generator)
    noise = torch.rand(target.shape, generator=generator)
    return 0.6 * target + 0.2 * noise, target


def by_hand(state: State, first: NDArray[Any], second: NDArray[Any]) -> float:
    """DISTS of two (3, H, W), in float64 and without torch."""
    file = resources.files("napari_niiv.training.losses") / "dists.safetensors"
    learned = {name: value.double().numpy() for name, value in load_file(str(file)).items()}
    window = np.outer(np.hanning(5)[1:-1], np.hanning(5)[1:-1])
    window /= window.sum()

    def features(image: NDArray[Any]) -> list[NDArray[Any]]:
        result = [image]
        x = (image - np.reshape([0.485, 0.456, 0.406], (3, 1, 1))) / np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
        for _, layers in STAGES:
            if layers[0] > 0:
                x = np.stack([np.sqrt(convolve(c**2, window, mode="constant")[::2, ::2] + 1e-12) for c in x])
            for layer in layers:
                kernel, bias = state[f"{layer}.weight"].numpy(), state[f"{layer}.bias"].numpy()
                views = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), (1, 2))
                x = np.maximum(np.tensordot(kernel, views, ((1, 2, 3), (0, 3, 4))) + bias[:, None, None], 0)
            result.append(x)
        return result

    similarity, at = 0.0, 0
    for x, y in zip(features(first), features(second), strict=True):
        for a, b in zip(x, y, strict=True):
            means = (2 * a.mean() * b.mean() + 1e-6) / (a.mean() ** 2 + b.mean() ** 2 + 1e-6)
            covariance = (a * b).mean() - a.mean() * b.mean()
            structure = (2 * covariance + 1e-6) / (a.var() + b.var() + 1e-6)
            similarity += learned["alpha"][at] * means + learned["beta"][at] * structure
            at += 1
    assert at == 1475
    return 1 - similarity / (learned["alpha"].sum() + learned["beta"].sum())


def test_agrees_with_published_values(shared_data: Path) -> None:
    """Those of torchmetrics' documentation, whose doctests start from seed 42."""
    file = shared_data / "vgg16_features_fp16.safetensors"
    if not file.is_file():
        pytest.skip("no weights of VGG16 among the test volumes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(42)
        prediction, target = torch.rand(5, 3, 256, 256), torch.rand(5, 3, 256, 256)
    with torch.no_grad():
        result = load_dists(file, CPU)(prediction[1:2], target[1:2])
    torch.testing.assert_close(result, torch.tensor([0.1344]), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("channels", "height", "width"), [(3, 20, 18), (1, 17, 32)])
def test_agrees_with_the_formula(dists: Dists, state: State, channels: int, height: int, width: int) -> None:
    prediction, target = images(1, channels, height, width)
    result = dists(prediction, target)
    assert result.shape == (1,)
    assert result.dtype == torch.float32
    first, second = (np.broadcast_to(image[0].double().numpy(), (3, height, width)) for image in (prediction, target))
    expected = by_hand(state, first, second)
    assert expected > 0.01
    assert float(result) == pytest.approx(expected, abs=1e-5)


def test_grey_is_rgb_of_three_equal_channels(dists: Dists) -> None:
    prediction, target = images(1, 1, 16, 16)
    rgb = dists(prediction.repeat(1, 3, 1, 1), target.repeat(1, 3, 1, 1))
    torch.testing.assert_close(dists(prediction, target), rgb)


@pytest.mark.parametrize("half", [False, True])
def test_identical_images_have_no_distance(dists: Dists, half: bool) -> None:
    _, target = images(2, 1, 24, 24)
    target[1] = 0.3  # no contrast at all
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        result = dists(target, target.clone())
    torch.testing.assert_close(result, torch.zeros(2), atol=1e-5, rtol=0)


def test_low_contrast_is_not_lost_beside_the_mean(dists: Dists, state: State) -> None:
    _, noise = images(1, 3, 16, 16)
    target = 0.9 + 1e-3 * noise
    prediction = 1.8 - target  # the same mean, opposite structure
    expected = by_hand(state, prediction[0].double().numpy(), target[0].double().numpy())
    assert float(dists(prediction, target)) == pytest.approx(expected, rel=1e-3)


def test_the_gradient_reaches_the_prediction_only(dists: Dists) -> None:
    prediction, target = images(2, 1, 16, 16)
    prediction[1] = 0  # where a root is steepest
    prediction.requires_grad_()
    dists(prediction, target).sum().backward()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
    assert (prediction.grad != 0).flatten(1).any(1).all()
    assert len(list(dists.parameters())) == 26
    assert all(not weights.requires_grad and weights.grad is None for weights in dists.parameters())
    assert target.grad is None


def test_the_gradient_is_the_slope(dists: Dists) -> None:
    prediction, target = images(1, 1, 16, 16)
    prediction.requires_grad_()
    (slope,) = torch.autograd.grad(dists(prediction, target).sum(), prediction)
    step = 1e-3 * slope / slope.norm()
    with torch.no_grad():
        rise = dists(prediction + step, target) - dists(prediction - step, target)
    assert float(rise) == pytest.approx(2e-3 * float(slope.norm()), rel=0.05)


def test_half_precision_features(dists: Dists) -> None:
    prediction, target = images(2, 1, 32, 32)
    prediction.requires_grad_()
    (exact,) = torch.autograd.grad(dists(prediction, target).sum(), prediction)
    with torch.autocast("cpu", torch.bfloat16):
        result = dists(prediction.bfloat16(), target)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, dists(prediction, target), atol=5e-3, rtol=0)
    (rounded,) = torch.autograd.grad(result.sum(), prediction)
    assert torch.cosine_similarity(rounded.flatten(), exact.flatten(), dim=0) > 0.95


def test_statistics_are_in_float32() -> None:
    features = [image.bfloat16() for image in images(2, 3, 16, 16)]
    expected = _similarities(*(image.float() for image in features))
    with torch.autocast("cpu", torch.bfloat16):
        result = _similarities(features[0], features[1])
    torch.testing.assert_close(result, expected, atol=0, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_on_cuda(state: State, dists: Dists, half: torch.dtype) -> None:
    prediction, target = images(2, 1, 32, 32)
    moved, on_gpu = prediction.cuda().requires_grad_(), Dists(state).cuda()
    with torch.autocast("cuda", half):
        result = on_gpu(moved, target.cuda())
    torch.testing.assert_close(result.cpu(), dists(prediction, target), atol=5e-3, rtol=0)
    (slope,) = torch.autograd.grad(result.sum(), moved)
    assert slope.isfinite().all()


def test_images_of_a_batch_are_apart(dists: Dists) -> None:
    prediction, target = images(3, 1, 16, 16)
    prediction.requires_grad_()
    together = dists(prediction, target)
    alone = torch.cat([dists(prediction[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    (slope,) = torch.autograd.grad(together[0], prediction)
    assert slope[0].any()
    assert not slope[1:].any()


@pytest.mark.parametrize(
    "shapes",
    [((1, 2, 8, 8),) * 2, ((1, 8, 8),) * 2, ((1, 1, 8, 8), (1, 3, 8, 8)), ((2, 1, 8, 8), (1, 1, 8, 8))],
)
def test_other_shapes_are_refused(dists: Dists, shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="of one shape"):
        dists(torch.zeros(shapes[0]), torch.zeros(shapes[1]))


def test_the_learned_weights_come_with_their_licence() -> None:
    folder = resources.files("napari_niiv.training.losses")
    learned = load_file(str(folder / "dists.safetensors"))
    assert {name: tuple(value.shape) for name, value in learned.items()} == {
        "alpha": (1475,),
        "beta": (1475,),
    }
    assert all(value.dtype == torch.float32 and (value >= 0).all() for value in learned.values())
    assert float(learned["alpha"].sum() + learned["beta"].sum()) == pytest.approx(1, abs=1e-3)
    licence = (folder / "DISTS_LICENSE.txt").read_text()
    assert "MIT License" in licence
    assert "Keyan Ding" in licence


# Weights and their files


@pytest.mark.parametrize(
    ("name", "prefix", "dtype"),
    [("a.safetensors", "features.", torch.float16), ("b.pth", "", torch.bfloat16)],
)
def test_files_of_weights(state: State, tmp_path: Path, name: str, prefix: str, dtype: torch.dtype) -> None:
    stored = {prefix + key: value.to(dtype) for key, value in state.items()}
    stored["classifier.0.weight"] = torch.zeros(2, 2)
    (save_file if name.endswith(".safetensors") else torch.save)(stored, tmp_path / name)
    dists = load_dists(tmp_path / name, CPU)
    rounded = [value.to(dtype).float() for value in state.values()]
    assert all(torch.equal(*pair) for pair in zip(dists.parameters(), rounded, strict=True))


def test_weights_are_found_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, state: State) -> None:
    asked: list[Any] = []

    def vgg16(weights: Any) -> Any:
        asked.append(weights)
        torch.rand(3)  # as its constructor, which draws weights
        return types.SimpleNamespace(features=types.SimpleNamespace(state_dict=lambda: state))

    models: Any = types.ModuleType("torchvision.models")
    models.vgg16, models.VGG16_Weights = vgg16, types.SimpleNamespace(IMAGENET1K_V1="the first version")
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    before = torch.random.get_rng_state()
    result = load_dists(None, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert asked == ["the first version"]
    assert torch.equal(next(result.parameters()), state["0.weight"])

    # Each file lacks everything; the error tells which was read.
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "vgg16-397923af.pth"
    cached.parent.mkdir(parents=True)
    torch.save({}, cached)
    with pytest.raises(TrainingError, match=r"^vgg16-397923af\.pth is truncated"):  # its name tells its SHA-256
        load_dists(None, CPU)
    torch.save({}, tmp_path / "named.pt")
    monkeypatch.setenv(VGG16_VARIABLE, str(tmp_path / "named.pt"))
    with pytest.raises(TrainingError, match=r"^named\.pt lacks"):
        load_dists(None, CPU)
    save_file({}, tmp_path / "given.safetensors")
    with pytest.raises(TrainingError, match=r"^given\.safetensors lacks"):
        load_dists(tmp_path / "given.safetensors", CPU)
    assert len(asked) == 1


def one_sentence(error: pytest.ExceptionInfo[TrainingError]) -> str:
    text = str(error.value)
    assert text.endswith(".")
    assert ". " not in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("why", [ImportError("No module"), RuntimeError("operator torchvision::nms does not exist")])
def test_no_weights_at_all(monkeypatch: pytest.MonkeyPatch, why: Exception) -> None:
    class Broken(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise why

    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", Broken("torchvision.models"))
    with pytest.raises(TrainingError, match="DISTS loss needs VGG16's weights") as error:
        load_dists(None, CPU)
    text = one_sentence(error)
    assert "file in the training's settings" in text
    assert VGG16_VARIABLE in text
    assert "install torchvision" in text
    assert "MAE loss needs none" in text


@pytest.mark.parametrize("why", [OSError("Name or service not known"), RuntimeError("invalid hash value")])
def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch, why: Exception) -> None:
    def vgg16(weights: Any) -> Any:
        raise why

    models: Any = types.ModuleType("torchvision.models")
    models.vgg16, models.VGG16_Weights = vgg16, types.SimpleNamespace(IMAGENET1K_V1="")
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    with pytest.raises(TrainingError, match=f"cannot download VGG16's weights .{why}.") as error:
        load_dists(None, CPU)
    assert VGG16_VARIABLE in one_sentence(error)


class Harmful:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle ran",)


def truncated(path: Path, save: Callable[[Path], None]) -> None:
    save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])


SOME = {"0.weight": torch.ones(64, 3, 3, 3), "0.bias": torch.ones(64)}


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("absent.pth", lambda p: None, "There is no file '.*absent.pth'"),
        ("folder.safetensors", Path.mkdir, "There is no file"),
        ("weights.ckpt", lambda p: p.write_bytes(b"x"), r"are read from \.safetensors, \.pth and \.pt files"),
        ("garbage.pth", lambda p: p.write_bytes(b"corrupt" * 9), "truncated or not a file of weights"),
        ("empty.pth", Path.touch, "truncated or not a file of weights"),
        (
            "garbage.safetensors",
            lambda p: p.write_bytes(b"corrupt" * 9),
            "truncated or not a file of weights",
        ),
        ("empty.safetensors", Path.touch, "truncated or not a file of weights"),
        ("short.pth", lambda p: truncated(p, lambda q: torch.save(SOME, q)), "truncated or not"),
        (
            "old.pth",
            lambda p: truncated(p, lambda q: torch.save(SOME, q, _use_new_zipfile_serialization=False)),
            "truncated or not",
        ),
        ("short.safetensors", lambda p: truncated(p, lambda q: save_file(SOME, q)), "truncated or not"),
        ("code.pth", lambda p: torch.save(Harmful(), p), "could run code"),
        (
            "old_code.pth",
            lambda p: torch.save(Harmful(), p, _use_new_zipfile_serialization=False),
            "could run code",
        ),
        ("network.pt", lambda p: torch.save(torch.nn.Linear(2, 2), p), "could run code"),
        ("plain.pth", lambda p: p.write_bytes(pickle.dumps(Harmful(), 2)), "could run code"),
        pytest.param(
            "new.pth",
            lambda p: p.write_bytes(pickle.dumps({"0.weight": np.ones(3)}, 4)),
            "could run code",
            marks=pytest.mark.filterwarnings("ignore:Detected pickle protocol"),
        ),
        ("list.pth", lambda p: torch.save([1, 2], p), "lacks the weight of VGG16's layer 0"),
        ("part.pth", lambda p: torch.save(SOME, p), "lacks the weight of VGG16's layer 2"),
        ("text.pth", lambda p: torch.save({"0.weight": "none"}, p), "lacks the weight of VGG16's layer 0"),
        (
            "other.safetensors",
            lambda p: save_file({"0.weight": torch.ones(64, 3, 11, 11)}, p),
            r"another network .* layer 0 is \(64, 3, 11, 11\) float32, not \(64, 3, 3, 3\) float",
        ),
        (
            "bytes.safetensors",
            lambda p: save_file({"0.weight": torch.ones(64, 3, 3, 3, dtype=torch.uint8)}, p),
            r"another network .* uint8",
        ),
        ("nan.pth", lambda p: torch.save({**SOME, "0.bias": torch.full((64,), torch.nan)}, p), "not finite"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, name: str, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / name)
    with pytest.raises(TrainingError, match=message) as error:
        load_dists(tmp_path / name, CPU)
    assert name in one_sentence(error)


def test_a_file_closed_to_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def closed(path: Path, mode: str) -> Any:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.safetensors").touch()
    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(TrainingError, match=r"a\.safetensors cannot be read \(Permission denied\)") as error:
        load_dists(tmp_path / "a.safetensors", CPU)
    one_sentence(error)
