import torch

from ser.training.objective import mixed


def test_mixup_is_over_the_frames_that_both_have():
    features = torch.tensor([[[1.0], [2.0], [3.0]], [[10.0], [20.0], [0.0]]])
    found, lengths = mixed(features, torch.tensor([3, 2]), torch.tensor([1, 0]), torch.tensor([0.75, 1.0]))
    assert lengths.tolist() == [2, 2]
    assert found[:, :, 0].tolist() == [[3.25, 6.5, 0.0], [10.0, 20.0, 0.0]]
