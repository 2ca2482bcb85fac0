"""A full-size training as it lies in a run folder."""

import torch
from safetensors.torch import save_file

from hpcnas.networks.skeletons import build_network
from hpcnas.representation.canonical import digest
from hpcnas.representation.presets import PUBLISHED
from hpcnas.training.full_size.result import final_of, write_result


def settle(network, channels):
    """Give BN other statistics than those it starts with."""
    network.train()
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(4, channels, 16, 16))
    return network.eval()


def leave_training(folder, run, error, dataset="digits"):
    """What a full-size training of the published cell leaves in a run folder; its weights."""
    torch.manual_seed(run)
    folder = folder / "final" / f"cifar-c4-n1-{dataset}" / "published" / f"run-{run}"
    folder.mkdir(parents=True)
    weights = settle(build_network(PUBLISHED, "cifar", channels=4, cells=1, in_channels=1), 1).state_dict()
    save_file(weights, folder / "weights.safetensors")
    settings = {"model": "cifar", "dataset": dataset, "channels": 4, "cells": 1, "tail": "none"}
    of_training = {"tested": 10, "skipped": 0, "parameters": 1, "train_loss": 0.5, "seconds": 1.0, "images_per_s": 1.0}
    of_machine = {"gpu_hours": 0.0, "world_size": 1, "micro_batch": 4, "devices": "1 x cpu", "restarts": 0, "commit": ""}
    of_genotype = {"digest": digest(PUBLISHED), "genotype": "", "individual_id": None, "versions": {}}
    of_run = {"run": run, "seed": run, "error_top1": error, "error_top5": None}
    result = final_of({"settings": settings, **of_genotype, **of_run, **of_training, **of_machine})
    write_result(folder, result)
    return weights
