"""The perceptual loss of training: DISTS, on features of VGG16."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from napari_niiv.errors import TrainingError
from napari_niiv.models.pickled_weights import MoreThanWeights, OldTorch, load_pickle
from napari_niiv.models.weight_files import DamagedWeights, open_weights

VGG16_VARIABLE = "NAPARI_NIIV_VGG16"
"""Environment variable that names the file of VGG16's weights."""

_CACHED = "vgg16-397923af.pth"  # torchvision's own name for its download
_GIVE = f"give another file, in the training's settings or in {VGG16_VARIABLE}, or choose the MAE loss"

# VGG16's convolutions up to relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, as torchvision numbers them
_STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
_CHANNELS = (3, 64, 128, 256, 512, 512)  # of the image and of each stage
_STABILITY = 1e-6


class Dists(nn.Module):
    """DISTS, a distance of structure and texture between images; 0 when they are the same.

    Own code from the formula of Ding, Ma, Wang and Simoncelli, "Image Quality Assessment: Unifying Structure and
    Texture Similarity", IEEE TPAMI 44(5), 2567-2581 (2020), https://arxiv.org/abs/2004.07728: of each channel of the
    image and of five stages of VGG16, the similarity of the means (texture) and of the covariance and variances
    (structure) over the whole image, averaged with the weights alpha and beta that the authors learned.

    Nothing in it is trained. The statistics are taken in float32, also under autocast; the features follow it.

    Parameters
    ----------
    state : mapping of str to Tensor
        VGG16's weights, as torchvision names them: "0.weight" or "features.0.weight"; of any floating type. Others
        are ignored.
    source : str
        What errors call the weights.

    Raises
    ------
    TrainingError
        If weights are missing, of other shapes or not finite.
    """

    mean: Tensor
    std: Tensor
    window: Tensor
    alpha: Tensor
    beta: Tensor

    def __init__(self, state: Mapping[str, Tensor], source: str = "The given state") -> None:
        super().__init__()
        weights = _convolutions(state, source)
        self.vgg = nn.ParameterList(nn.Parameter(w, requires_grad=False) for w in weights)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        hanning = torch.tensor([0.25, 0.5, 0.25])  # np.hanning(5)[1:-1], of the sum 1
        self.register_buffer("window", torch.outer(hanning, hanning), persistent=False)
        learned = load((resources.files("napari_niiv.training.losses") / "dists.safetensors").read_bytes())
        total = learned["alpha"].sum() + learned["beta"].sum()
        self.register_buffer("alpha", learned["alpha"] / total, persistent=False)
        self.register_buffer("beta", learned["beta"] / total, persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Distance of each image from its target, differentiable.

        Parameters
        ----------
        prediction, target : (B, 1 or 3, H, W) Tensor
            Grey or RGB, of intensities about 0 to 1.

        Returns
        -------
        (B,) Tensor
            In float32.

        Raises
        ------
        ValueError
            If the shapes differ, or are not those of images of 1 or 3 channels.
        """
        if prediction.shape != target.shape or prediction.ndim != 4 or prediction.shape[1] not in (1, 3):
            raise ValueError(
                f"DISTS compares images (B, 1 or 3, H, W) of one shape, not {tuple(prediction.shape)} "
                f"and {tuple(target.shape)}"
            )
        texture, structure = zip(*map(_similarities, self._features(prediction), self._features(target)), strict=True)
        # Under autocast a product with the weights would be rounded: 1 - its result is what counts.
        with torch.autocast(prediction.device.type, enabled=False):
            similarity = (self.alpha * torch.cat(texture, 1)).sum(1)
            similarity = similarity + (self.beta * torch.cat(structure, 1)).sum(1)
            return 1 - similarity

    def _features(self, images: Tensor) -> list[Tensor]:
        """The image and VGG16's stages: (B, C, H / 2^k, W / 2^k), rounded up."""
        images = images.float().expand(-1, 3, -1, -1)
        features, stages = (images - self.mean) / self.std, [images]
        weights = iter(self.vgg)
        for number, stage in enumerate(_STAGES):
            if number > 0:
                features = self._pool(features)
            for _ in stage:
                features = F.relu_(F.conv2d(features, next(weights), next(weights), padding=1))
            stages.append(features)
        return stages

    def _pool(self, features: Tensor) -> Tensor:
        """L2 pooling with a Hanning window, of every second pixel, instead of VGG's maximum."""
        with torch.autocast(features.device.type, enabled=False):
            if features.dtype == torch.float16:  # holds neither the squares nor 1e-12
                features = features.float()
            channels = features.shape[1]
            window = self.window.to(features.dtype).expand(channels, 1, -1, -1)
            power = F.conv2d(features * features, window, stride=2, padding=1, groups=channels)
            return (power + 1e-12).sqrt()


def load_dists(weights: Path | None, device: torch.device) -> Dists:
    """DISTS with VGG16's weights, ready for use.

    The weights are those of the file given; else of the file that the environment variable NAPARI_NIIV_VGG16 names;
    else torchvision's own, when torch.hub's folder already holds them or torchvision is installed to download them.

    Parameters
    ----------
    weights : path, optional
        A .safetensors, .pth or .pt file, its keys as torchvision's ("0.weight" or "features.0.weight").
    device : torch.device
        Where to put it.

    Returns
    -------
    Dists

    Raises
    ------
    TrainingError
        If there are no weights, or their file is missing, damaged, a pickle of more than weights, or not of VGG16.
    """
    path = _weights_file(weights)
    if path is None:
        dists = Dists(_from_torchvision(), "torchvision's VGG16")
    else:
        dists = Dists(_read(path), path.name)
    return dists.to(device)


def _weights_file(given: Path | None) -> Path | None:
    named = given or os.environ.get(VGG16_VARIABLE)
    if named:
        return Path(os.path.expanduser(named))
    cached = Path(torch.hub.get_dir()) / "checkpoints" / _CACHED
    return cached if os.path.isfile(cached) else None


def _from_torchvision() -> Mapping[str, Tensor]:
    try:
        from torchvision.models import VGG16_Weights, vgg16
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another torch
        raise TrainingError(
            "The DISTS loss needs VGG16's weights: name their file in the training's settings or in the environment "
            f"variable {VGG16_VARIABLE}, or install torchvision, which downloads them; the MAE loss needs none."
        ) from error
    try:
        # building the network draws weights first; the training's own draws shall not depend on it
        with torch.random.fork_rng(devices=[]):
            state: Mapping[str, Tensor] = vgg16(weights=VGG16_Weights.IMAGENET1K_V1).features.state_dict()
    except (OSError, RuntimeError) as error:  # RuntimeError: the download has another checksum
        raise TrainingError(
            f"torchvision cannot download VGG16's weights ({error}); "
            f"name their file in the training's settings or in {VGG16_VARIABLE}, or choose the MAE loss."
        ) from error
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    suffix = path.suffix.lower()
    if not os.path.isfile(path):
        raise TrainingError(f"There is no file {str(path)!r} of VGG16's weights; {_GIVE}.")
    if suffix not in (".safetensors", ".pth", ".pt"):
        raise TrainingError(
            f"VGG16's weights are read from .safetensors, .pth and .pt files, not from {path.name}; {_GIVE}."
        )
    try:
        if suffix == ".safetensors":
            with open_weights(path) as file:
                return file.tensors()
        _check_sum(path)
        content = load_pickle(path)
    except OSError as error:
        raise TrainingError(f"VGG16's weights in {path.name} cannot be read ({error.strerror}); {_GIVE}.") from error
    except OldTorch as error:
        raise TrainingError(str(error)) from error
    except MoreThanWeights as error:
        raise TrainingError(
            f"{path.name} holds more than weights, which could run code on your computer, and is not loaded; "
            "save VGG16's state_dict() or a .safetensors file instead."
        ) from error
    except DamagedWeights as error:
        raise TrainingError(f"{path.name} is truncated or not a file of weights; {_GIVE}.") from error
    return content if isinstance(content, Mapping) else {}


def _check_sum(path: Path) -> None:
    """Refuse a file by the name of torchvision's that is another one: the name ends with how its SHA-256 begins.

    Raises
    ------
    DamagedWeights
        If it is another.
    """
    if path.name != _CACHED:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(path.stem.split("-")[1]):
        raise DamagedWeights("its SHA-256 is not that of torchvision's file")


def _convolutions(state: Mapping[str, Tensor], source: str) -> list[Tensor]:
    """Weight and bias of each convolution in turn, checked, in float32."""
    weights: list[Tensor] = []
    entering = _CHANNELS[0]
    for stage, channels in zip(_STAGES, _CHANNELS[1:], strict=True):
        for layer in stage:
            shapes = {"weight": (channels, entering, 3, 3), "bias": (channels,)}
            for name, shape in shapes.items():
                tensor = state.get(f"{layer}.{name}", state.get(f"features.{layer}.{name}"))
                if not isinstance(tensor, Tensor):
                    raise TrainingError(f"{source} lacks the {name} of VGG16's layer {layer}; {_GIVE}.")
                if tuple(tensor.shape) != shape or not tensor.is_floating_point():
                    raise TrainingError(
                        f"{source} holds another network than VGG16: the {name} of its layer {layer} is "
                        f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}, not {shape} float; {_GIVE}."
                    )
                weights.append(tensor.detach().to("cpu", torch.float32, copy=True).contiguous())
                if not weights[-1].isfinite().all():
                    raise TrainingError(
                        f"{source} is damaged: the {name} of VGG16's layer {layer} is not finite; {_GIVE}."
                    )
            entering = channels
    return weights


def _similarities(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of the means and of the structure of two (B, C, H, W), per image and channel: (B, C) each."""
    with torch.autocast(first.device.type, enabled=False):
        first, second = first.float(), second.float()
        mean1, mean2 = first.mean((2, 3), keepdim=True), second.mean((2, 3), keepdim=True)
        # Centred first: E[xy] - E[x] E[y] would cancel where the contrast is small beside the mean.
        first, second = first - mean1, second - mean2
        variances = (first * first + second * second).mean((2, 3))
        covariance = (first * second).mean((2, 3))
        mean1, mean2 = mean1.flatten(1), mean2.flatten(1)
        texture = (2 * mean1 * mean2 + _STABILITY) / (mean1 * mean1 + mean2 * mean2 + _STABILITY)
        structure = (2 * covariance + _STABILITY) / (variances + _STABILITY)
        return texture, structure
