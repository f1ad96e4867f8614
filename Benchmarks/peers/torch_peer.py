"""Trains our shape in PyTorch: without privacy, or with Opacus (hooks, ghost). One JSON line says what it took.

The same GPT-2 as ours: pre-norm blocks, biases everywhere but in the head, tanh GELU, learned positions, AdamW; single precision.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

from measure import Measurement, arguments

NOISE_MULTIPLIER, MAX_GRAD_NORM = 1.0, 1.0


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.Linear(width, 3 * width)
        self.attn_out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attn(self.ln_1(x)).split(width, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.wte = nn.Embedding(shape.vocabulary, shape.width)
        self.wpe = nn.Embedding(shape.positions, shape.width)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)
        if shape.tied:
            self.head.weight = self.wte.weight
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, ids):
        # Opacus takes the first dimension of a layer's input for the example's, so positions have one too.
        positions = torch.arange(ids.shape[1]).expand(ids.shape).contiguous()
        x = self.wte(ids) + self.wpe(positions)
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))


def loss_of(logits, targets, criterion):
    return criterion(logits.flatten(0, 1), targets.flatten())


def standard(model, optimizer):
    """The ordinary step."""
    criterion = nn.CrossEntropyLoss()
    return model, optimizer, lambda logits, targets: loss_of(logits, targets, criterion)


def hooks(model, optimizer, batch):
    """Opacus, each example's gradient in memory."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model = GradSampleModule(model, batch_first=True, loss_reduction="mean")
    optimizer = DPOptimizer(
        optimizer,
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=MAX_GRAD_NORM,
        expected_batch_size=batch,
        loss_reduction="mean",
    )
    criterion = nn.CrossEntropyLoss()
    return model, optimizer, lambda logits, targets: loss_of(logits, targets, criterion)


def ghost(model, optimizer, batch):
    """Opacus, norms without the gradients, and a second backward pass over the weighted loss."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    model = GradSampleModuleFastGradientClipping(
        model, batch_first=True, loss_reduction="mean", max_grad_norm=MAX_GRAD_NORM, use_ghost_clipping=True
    )
    optimizer = DPOptimizerFastGradientClipping(
        optimizer,
        noise_multiplier=NOISE_MULTIPLIER,
        max_grad_norm=MAX_GRAD_NORM,
        expected_batch_size=batch,
        loss_reduction="mean",
    )
    criterion = DPLossFastGradientClipping(model, optimizer, nn.CrossEntropyLoss(), loss_reduction="mean")
    # With the shape an example's loss is the mean over its own targets.
    return model, optimizer, lambda logits, targets: criterion(
        logits.flatten(0, 1), targets.flatten(), shape=targets.shape
    )


def main():
    shape = arguments(["standard", "hooks", "ghost"])
    if shape.tied and shape.mode != "standard":
        raise SystemExit("Error: Opacus' norms leave out the cross term of a tied table: no comparison with a tied model")
    torch.set_num_threads(shape.threads)
    torch.manual_seed(0)
    measurement = Measurement(f"torch {torch.__version__}")
    model = GPT2(shape)
    measurement.check(sum(parameter.numel() for parameter in model.parameters()), shape)
    # `fused`: one pass over the parameters, as ours.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    if shape.mode == "standard":
        model, optimizer, loss_of_step = standard(model, optimizer)
    else:
        import opacus

        measurement.version += f", opacus {opacus.__version__}"
        model, optimizer, loss_of_step = {"hooks": hooks, "ghost": ghost}[shape.mode](model, optimizer, shape.batch)
    ids = torch.randint(0, shape.vocabulary, (shape.batch, shape.seq_len + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()

    def step(_):
        optimizer.zero_grad()
        loss = loss_of_step(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    measurement.run(step, shape)


if __name__ == "__main__":
    main()
