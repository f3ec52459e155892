"""Every activation as a formula in plain Python: what the figures' curves are held against."""

import math

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def normal(x, mean=0.0, deviation=1.0):
    """The density."""
    return math.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * math.sqrt(2 * math.pi))


def golu(x, alpha=1.0, beta=1.0, gamma=1.0):
    return alpha * x * math.exp(-beta * math.exp(-gamma * x))


def golu_slope(x, alpha=1.0, beta=1.0, gamma=1.0):
    u = beta * math.exp(-gamma * x)
    return alpha * math.exp(-u) * (1 + gamma * x * u)


def elu(x, alpha=1.0):
    return x if x > 0 else alpha * math.expm1(x)


FORMULA = {
    "Sigmoid": sigmoid,
    "Tanh": math.tanh,
    "Softsign": lambda x: x / (1 + abs(x)),
    "Softplus": lambda x: math.log1p(math.exp(x)),
    "ReLU": lambda x: max(x, 0),
    "LeakyReLU": lambda x: x if x > 0 else 0.01 * x,
    "PReLU": lambda x: x if x > 0 else 0.25 * x,
    "ELU": elu,
    "SELU": lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
    "CELU": elu,
    "GELU": lambda x: x / 2 * math.erfc(-x / math.sqrt(2)),
    "GELU_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "Swish": lambda x: x * sigmoid(x),
    "Mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "GoLU": golu,
    "ReLU2": lambda x: max(x, 0) ** 2,
    "TeLU": lambda x: x * math.tanh(math.exp(x)),
    "xIELU": lambda x: 0.5 * x + (0.8 * x * x if x > 0 else 0.8 * (math.expm1(x) - x)),
    "AGLU": lambda x: x / (1 + math.exp(-x / 2) / 2) ** 2,
}
