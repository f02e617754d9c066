"""Adam is torch's, to the bit, without the compiler that torch's optimiser imports."""

import subprocess
import sys

import torch

from napari_niiv.training.adam import Adam


def test_it_takes_the_steps_of_torchs_optimiser_also_after_going_on() -> None:
    ours = [torch.randn(4, 3), torch.randn(5)]
    theirs = [torch.nn.Parameter(weight.clone()) for weight in ours]
    adam, reference = Adam(ours), torch.optim.Adam(theirs, 1e-3, fused=False)
    assert adam.state() == {}
    adam.restore({})
    for number in range(6):
        if number == 3:
            before, adam = adam.state(), Adam(ours)
            adam.restore(before)
        for weight, parameter in zip(ours, theirs, strict=True):
            weight.grad = torch.randn(weight.shape)
            parameter.grad = weight.grad.clone()
        rate = 1e-3 * (number + 1)
        reference.param_groups[0]["lr"] = rate
        adam.step(rate)
        reference.step()
        assert all(torch.equal(weight, parameter) for weight, parameter in zip(ours, theirs, strict=True))
    state = adam.state()
    for number, parameter in enumerate(theirs):
        for name, value in reference.state[parameter].items():
            torch.testing.assert_close(state[f"{number}.{name}"], value, rtol=0, atol=0)


def test_a_training_imports_neither_compiler_nor_triton() -> None:
    """They take more than a second; and triton, from 3.7 on, ends the process where OpenGL has loaded LLVM, as Mesa."""
    program = """
import sys
import torch
import napari_niiv.training.train
from napari_niiv.degradation import Average
from napari_niiv.models.architecture import Architecture
from napari_niiv.models.niiv import Niiv
from napari_niiv.training.losses.loss import make_loss
from napari_niiv.training.optimisation import Optimisation
model = Niiv(Architecture(context=0, features=8, blocks=1, samples=4, degree=1))
loss = make_loss("mae", None, torch.device("cpu"))
optimisation = Optimisation(model, Average(), loss, learning_rate=1e-3)
optimisation.step(lambda: torch.rand(2, 1, 16, 16), 4.0, 0.0)
optimisation.check_progress()
print(sorted({"torch._dynamo", "triton"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
