"""A small task for the tests of the engine."""

import torch
import torch.nn.functional as F
from torch import nn

from workbench.training.launch import Machine
from workbench.training.metrics import VAL_LOSS
from workbench.training.seeding import seed_everything
from workbench.training.task import Source, Task

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 1).long()


class Plain(Task):
    """Three epochs of five steps with eight samples; anything of a task may be changed."""

    metrics = (VAL_LOSS,)
    model_name = "net"

    def __init__(
        self, table=(0.1, 0.05, 0.01), dropout=0.0, decay=None, repeated=1, checkpoint_steps=2, epochs=3, **changes
    ):
        super().__init__(None, Source("data"), Machine("cpu", checkpoint_steps=checkpoint_steps))
        self.table, self.dropout, self.decay = table, dropout, decay
        self.count, self.batch_size, self.epochs = 40 * repeated, 8, epochs
        for name, value in changes.items():
            setattr(self, name, value)

    def open(self, device):
        pass

    def training(self, sampling, epoch, first):
        for shares in sampling.steps(epoch, first):
            yield [(X[samples % 40], Y[samples % 40]) for samples, _ in shares]

    def model(self, activation):
        seed_everything(3)
        return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(self.dropout), nn.Linear(16, 3))

    def optimizer(self, model):
        return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def rates(self, steps_per_epoch):
        return self.table

    def average(self, model, steps_per_epoch):
        from timm.utils import ModelEmaV3

        return None if self.decay is None else ModelEmaV3(model, self.decay)

    def loss(self, model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model, sampling, accelerator):
        return {"val_loss": F.cross_entropy(model(X), Y).item()}
