"""Shapes, strides and layouts, as PyTorch's own tests go through them for silu and mish."""

import pytest
import torch

from golu import golu
from tests.golu import reference

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def check(x: torch.Tensor, dy: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient against the reference, whatever the strides."""
    leaf = x.detach().requires_grad_()
    y = golu(leaf)
    dy = torch.randn_like(y) if dy is None else dy
    y.backward(dy)
    tolerance = {"rtol": 4 * torch.finfo(x.dtype).eps, "atol": 1e-6 if x.dtype is torch.float32 else 1e-3}
    if x.dtype is torch.float64:
        tolerance = {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(y.detach(), reference.value(x).to(x.dtype), **tolerance)
    want = dy.detach().double() * reference.derivative(x)
    torch.testing.assert_close(leaf.grad, want.to(x.dtype), **tolerance)
    return y, leaf.grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 129, 1000, 32769, 100_003])
def test_every_length_of_tail(cpu_kernel: str, dtype: torch.dtype, size: int) -> None:
    check(torch.randn(size, dtype=torch.float64).mul(3).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "view",
    {
        "scalar": lambda x: x[0, 0, 0, 0],
        "transposed": lambda x: x.transpose(1, 3),
        "permuted": lambda x: x.permute(3, 1, 0, 2),
        "sliced": lambda x: x[:, ::2, 1:, ::3],
        "offset": lambda x: x.flatten()[3:],
        "expanded": lambda x: x[:, :1].expand(-1, 9, -1, -1),
        "flipped window": lambda x: x.unfold(3, 3, 1),
        "channels_last": lambda x: x.to(memory_format=torch.channels_last),
        "row of channels_last": lambda x: x.to(memory_format=torch.channels_last)[1:2],
        "empty slice": lambda x: x[:, 2:2],
        "size-one dimensions": lambda x: x[:1, :, :1].transpose(0, 2),
    }.items(),
    ids=lambda item: item[0],
)
def test_strides(dtype: torch.dtype, view: tuple) -> None:
    x = view[1](torch.randn(2, 6, 5, 7, dtype=torch.float64).mul(3).to(dtype))
    y, grad = check(x)
    native = torch.nn.functional.silu(x)
    real = [
        i for i, size in enumerate(x.shape) if size > 1 and x.numel() > 0
    ]  # the stride of a size-one dimension means nothing
    assert [y.stride(i) for i in real] == [native.stride(i) for i in real]
    assert y.dtype == x.dtype and y.shape == x.shape and grad.shape == x.shape


@pytest.mark.parametrize(
    "dy",
    {
        "expanded from one": lambda s: torch.ones(()).expand(s),
        "transposed": lambda s: torch.randn(s[::-1]).permute(3, 2, 1, 0),
        "channels_last": lambda s: torch.randn(s).to(memory_format=torch.channels_last),
        "strided": lambda s: torch.randn(*s[:-1], s[-1] * 2)[..., ::2],
        "negated lazily": lambda s: torch._neg_view(torch.randn(s)),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_of_other_strides(dy: tuple, memory_format: torch.memory_format) -> None:
    shape = (2, 4, 5, 6)
    x = torch.randn(shape).to(memory_format=memory_format)
    _, grad = check(x, dy[1](shape))
    assert grad.is_contiguous(memory_format=memory_format)


def test_lazy_negation() -> None:
    z = torch.randn(50, dtype=torch.complex64)
    x = z.conj().imag  # a view whose memory holds the values with the other sign
    assert x.is_neg()
    check(x)
    check(torch._neg_view(torch.randn(50)))
    check(x[:1])  # one element is contiguous


def test_memory_is_kept() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    before = x.clone()
    y = golu(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert y.data_ptr() != x.data_ptr() and torch.equal(x, before)


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_only_the_input_is_saved(cpu_kernel: str, dtype: torch.dtype, strided: bool) -> None:
    x = torch.randn(64, 32).to(dtype)
    x = (x[:, ::2] if strided else x).requires_grad_()
    saved: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        golu(x, 0.9, 1.1, 1.2)
    assert len(saved) == 1 and saved[0].data_ptr() == x.data_ptr() and saved[0].shape == x.shape


@pytest.mark.parametrize(
    "x",
    [torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.bool), torch.ones(3, dtype=torch.complex64)],
    ids=lambda x: str(x.dtype),
)
def test_other_dtypes_raise(cpu_kernel: str, x: torch.Tensor) -> None:
    with pytest.raises(TypeError, match=f"not {x.dtype}"):
        golu(x)


@pytest.mark.parametrize("x", [[1.0, 2.0], 3.0, None])
def test_what_is_no_tensor_raises(x: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(x).__name__}"):
        golu(x)


def test_threads_give_the_same_result() -> None:
    x = torch.randn(1_000_003)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = golu(x)
        torch.set_num_threads(2)
        assert torch.equal(one, golu(x))
    finally:
        torch.set_num_threads(threads)


def test_tensors_without_memory_are_served_by_the_formula() -> None:
    zeros = torch._efficientzerotensor(8)
    assert zeros.data_ptr() == 0
    assert torch.equal(golu(zeros), torch.zeros(8))
    check(torch.randn(8), zeros)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged], ids=str)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_nested_tensors(layout: torch.layout, requires_grad: bool) -> None:
    parts = [torch.randn(2, 3), torch.randn(5, 3)]
    x = torch.nested.nested_tensor(parts, layout=layout, requires_grad=requires_grad)
    y = golu(x, 0.8, 1.2, 0.9)
    assert y.is_nested and y.layout == x.layout
    assert all(torch.equal(got, golu(part, 0.8, 1.2, 0.9)) for got, part in zip(y.unbind(), parts, strict=True))
    if requires_grad:
        y.backward(torch.ones_like(y))
        for got, part in zip(x.grad.unbind(), parts, strict=True):
            torch.testing.assert_close(got.double(), reference.derivative(part, 0.8, 1.2, 0.9), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_views() -> None:
    x = torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(5, 3)], layout=torch.strided).transpose(1, 2)
    assert all(torch.equal(got, golu(part)) for got, part in zip(golu(x).unbind(), x.unbind(), strict=True))


@pytest.mark.slow
def test_more_than_two_to_the_31_elements() -> None:
    n = 2**31 + 100
    x = torch.zeros(n, dtype=torch.bfloat16)
    x[-100:] = 1.0
    y = golu(x)
    assert y[-101] == 0 and (y[-100:] == golu(torch.ones(1, dtype=torch.bfloat16))).all()
