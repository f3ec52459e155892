"""Build GPT-2's architecture (Radford et al. 2019), with any activation between the two layers of its MLPs."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golu import GoLU, get_activation_function, golu_gate


class GPT(nn.Module):
    """Predict tokens by a transformer with learned positions, normalisation before each part, and tied embeddings.

    The initial weights are GPT-2's: normal with a deviation of 0.02, and of 0.02 / sqrt(2 n_layer) where a layer's
    result is added to the residual stream; biases are 0. No activation draws random numbers, so after the same seed
    they are the same whatever the activation.

    Args:
        vocabulary_size: tokens that it knows.
        block_size: tokens that it sees at most.
        bias: whether linear layers and norms have one.
        gated: whether an MLP is proj(activation(a) * b), a and b projections to 8/3 of the width (Shazeer 2020).
    """

    def __init__(
        self,
        vocabulary_size: int,
        block_size: int,
        n_layer: int,
        n_head: int,
        n_embd: int,
        dropout: float = 0.0,
        bias: bool = True,
        activation: str = "GoLU",
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.block_size = block_size
        self.token_embedding = nn.Embedding(vocabulary_size, n_embd)
        self.position_embedding = nn.Embedding(block_size, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(n_head, n_embd, dropout, bias, activation, gated) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd, bias=bias)
        for name, parameter in self.named_parameters():
            if name.endswith("proj.weight"):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * n_layer))
            elif name.endswith(("embedding.weight", "qkv.weight", "fc.weight")):
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith(("qkv.bias", "proj.bias", "fc.bias")):
                nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return the logits of each next token, (N, T, vocabulary_size); or, given targets, their mean cross-entropy.

        Args:
            tokens: int64 (N, T), T at most block_size.
            targets: int64 (N, T), what comes after each token.
        """
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.dropout(self.token_embedding(tokens) + self.position_embedding(positions))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token_embedding.weight)
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def flops_per_token(self) -> float:
        """Count a token's operations in training, at full context (Chowdhery et al. 2022, appendix B)."""
        parameters = sum(each.numel() for each in self.parameters()) - self.position_embedding.weight.numel()
        width = self.position_embedding.weight.shape[1]
        return 6 * parameters + 12 * len(self.blocks) * width * self.block_size


class _Block(nn.Module):
    def __init__(self, n_head: int, n_embd: int, dropout: float, bias: bool, activation: str, gated: bool) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(n_embd, bias=bias)
        self.attention = _Attention(n_head, n_embd, dropout, bias)
        self.norm_2 = nn.LayerNorm(n_embd, bias=bias)
        self.mlp = _MLP(n_embd, dropout, bias, activation, gated)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_1(x))
        return x + self.mlp(self.norm_2(x))


class _Attention(nn.Module):
    """Apply causal self-attention."""

    def __init__(self, n_head: int, n_embd: int, dropout: float, bias: bool) -> None:
        super().__init__()
        self.n_head = n_head
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=bias)
        self.proj = nn.Linear(n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(x).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for part in parts)
        dropout = self.dropout.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))


class _MLP(nn.Module):
    def __init__(self, n_embd: int, dropout: float, bias: bool, activation: str, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        hidden = 8 * n_embd // 3 if gated else 4 * n_embd
        self.fc = nn.Linear(n_embd, 2 * hidden if gated else hidden, bias=bias)
        self.activation = get_activation_function(activation)
        self.proj = nn.Linear(hidden, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc(x)
        hidden = self._gate(*hidden.chunk(2, -1)) if self.gated else self.activation(hidden)
        return self.dropout(self.proj(hidden))

    def _gate(self, gate: Tensor, up: Tensor) -> Tensor:
        act = self.activation
        if type(act) is GoLU:  # by one kernel, which keeps gate and up only
            return golu_gate(gate, up, act.alpha, act.beta, act.gamma)
        gated: Tensor = act(gate) * up
        return gated
