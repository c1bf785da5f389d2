import copy

import pytest
import torch

from ser.nets import build
from ser.nets.evaluate import log_posteriors
from ser.training import Trainer

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@cuda
@pytest.mark.parametrize("temporal", ["lstm", "blstm", "tdnn", "attention", "nin"])
@pytest.mark.parametrize("pooling", ["mu", "mu_sigma2"])
def test_posteriors_of_cpu_and_gpu_agree(made, temporal, pooling):
    experiment = made.experiment(f"temporal={temporal}", f"pooling={pooling}")
    data = made.open(experiment)
    torch.manual_seed(0)
    network = build(experiment, data.heads).eval()
    trainer = Trainer(experiment, made.root, data.heads, data.parts("train"), data.parts("valid"), {})
    for corpus, dataset in trainer.train.items():
        on_gpu = copy.deepcopy(network).to("cuda")
        one = log_posteriors(network, dataset, network.head_of(corpus), torch.device("cpu"))
        other = log_posteriors(on_gpu, dataset, network.head_of(corpus), torch.device("cuda"))
        assert abs(torch.from_numpy(one).exp() - torch.from_numpy(other).exp()).max() < 1e-3


@cuda
@pytest.mark.parametrize("temporal", ["lstm", "blstm", "tdnn"])
def test_a_gpu_trains_with_the_same_code(made, tmp_path, temporal):
    experiment = made.experiment(
        f"temporal={temporal}", "training.device=cuda", "training.precision=auto", "training.max_epochs=2"
    )
    data = made.open(experiment)
    trainer = Trainer(experiment, tmp_path, data.heads, data.parts("train"), data.parts("valid"), data.hashes())
    trainer.run()
    assert trainer.device_config.device.type == "cuda"
    assert (tmp_path / "model.safetensors").is_file()
