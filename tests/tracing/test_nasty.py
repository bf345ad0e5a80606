"""Models that are hard to trace: each is recorded, labelled where it has labels, and proven."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import flex_attention
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint as recompute

import neurolens as nl

CASES = {}


def case(reason):
    def enter(build):
        CASES[build.__name__] = (reason, build)
        return build

    return enter


def x34():
    return torch.randn(3, 4)


@case("a column is written by way of a slice, then another from it")
def inplace_column():
    def f(x):
        y = x * 1
        y[:, 1] *= 2
        y[:, 3] += y[:, 0]
        return y

    return f, x34()


@case("a view is read after its base was written")
def view_then_base():
    def f(x):
        y = x * 1
        v = y.view(-1)
        y.mul_(2)
        return v + 1

    return f, x34()


@case("one if takes its body, the next its else")
def two_ifs():
    def f(x):
        if x.sum() > -1e9:
            x = x + 1
        return x * 2 if x.sum() < -1000000000.0 else x - 1

    return f, x34()


@case("numbers leave torch and come back")
def numpy_roundtrip():
    def f(x):
        return torch.from_numpy(x.numpy() * 2) + x

    return f, x34()


@case("Python numbers go back into torch")
def item_tolist():
    def f(x):
        a = x.sum().item()
        b = x[0].tolist()
        return x * a + torch.tensor(b)

    return f, x34()


@case("numpy writes memory that torch goes on reading")
def numpy_write():
    def f(x):
        y = x * 1
        n = y.numpy()
        n[:] = 7
        return y + 1

    return f, x34()


@case("a write through .data, which no version counter shows")
def data_write():
    def f(x):
        y = x * 1
        y.data.mul_(3)
        return y + 1

    return f, x34()


@case("batched tensors live only inside vmap")
def vmap():
    def f(x):
        return torch.vmap(lambda r: (r * 2).sum() + r)(x)

    return f, x34()


@case("a gradient is taken inside forward by torch.func")
def func_grad():
    def f(x):
        return torch.func.grad(lambda y: (y**2).sum())(x)

    return f, x34()


@case("vmap inside a gradient")
def jacrev():
    def f(x):
        return torch.func.jacrev(lambda y: y**2)(x[0])

    return f, x34()


@case("dual numbers")
def jvp():
    def f(x):
        return torch.func.jvp(lambda y: y**2, (x,), (torch.ones_like(x),))

    return f, x34()


@case("parameters are swapped for the call")
def functional_call():
    m = nn.Linear(4, 2)
    p = dict(m.named_parameters())

    def f(x):
        return torch.func.functional_call(m, p, (x,))

    return f, x34()


@case("checkpointing in both forms")
def checkpoint():
    m = nn.Linear(4, 4)

    def f(x):
        return recompute(lambda z: torch.relu(m(z)), x, use_reentrant=False) + recompute(
            lambda z: m(z), x, use_reentrant=True
        )

    return f, x34().requires_grad_()


@case("a custom autograd function")
def autograd_function():
    class S(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.exp() * 2

        @staticmethod
        def backward(ctx, g):
            return g

    def f(x):
        return S.apply(x) + 1

    return f, x34().requires_grad_()


@case("one linear runs in bfloat16 and then in float32")
def autocast():
    m = nn.Linear(4, 4)

    def f(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = m(x)
        return y.float() + m(x)

    return f, x34()


@case("half precision")
def half():
    return nn.Linear(4, 4).half(), x34().half()


@case("bfloat16, with a norm that computes in float32")
def bf16():
    return nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).bfloat16(), x34().bfloat16()


@case("inference tensors have no version counter")
def inference():
    def f(x):
        with torch.inference_mode():
            y = x * 2
            y.add_(1)
            return y + 1

    return f, x34()


@case("complex numbers, conjugate views")
def fft():
    def f(x):
        z = torch.fft.fft2(x)
        return torch.fft.ifft2(z * 1j).real, z.conj() + 1

    return f, x34()


@case("sparse products")
def sparse():
    s = torch.eye(3).to_sparse()

    def f(x):
        return torch.sparse.mm(s, x), (s * 2), s @ x

    return f, x34()


@case("compressed sparse rows")
def csr():
    s = torch.eye(3).to_sparse_csr()

    def f(x):
        return s @ x

    return f, x34()


@case("a fused recurrent kernel with three results")
def lstm():
    return nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True), torch.randn(2, 3, 4)


@case("a fused GRU")
def gru():
    return nn.GRU(4, 5), torch.randn(3, 2, 4)


@case("recurrent cells in a Python loop")
def cells():
    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.l = nn.LSTMCell(4, 5)
            s.g = nn.GRUCell(5, 4)
            s.r = nn.RNNCell(4, 4)

        def forward(s, x):
            h = c = torch.zeros(3, 5)
            for _t in range(3):
                h, c = s.l(x, (h, c))
                x = s.r(s.g(h, x))
            return h, c

    return M(), x34()


@case("packed sequences are named tuples of tensors")
def packed():
    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.l = nn.LSTM(4, 5, batch_first=True)

        def forward(s, x):
            p = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
            o, _h = s.l(p)
            return nn.utils.rnn.pad_packed_sequence(o, batch_first=True)[0]

    return M(), torch.randn(2, 3, 4)


@case("attention called by a function, with weights")
def mha():
    m = nn.MultiheadAttention(8, 2, batch_first=True)
    return (lambda x: m(x, x, x)), torch.randn(2, 3, 8)


@case("where the attention fast path would run")
def mha_eval():
    m = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    return m, torch.randn(2, 3, 8)


@case("fused attention with dropout inside")
def sdpa():
    return (lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True, dropout_p=0.1)), torch.randn(
        2, 2, 3, 4
    )


@case("attention whose mask is made by vmap")
def flex():
    return (lambda q: flex_attention(q, q, q)), torch.randn(1, 2, 16, 16)


@case("a higher-order operator")
def cond():
    return (lambda x: torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))), x34()


@case("a scripted module, opaque")
def scripted():
    m = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.m = m

        def forward(s, x):
            return s.m(x * 2) + 1

    return M(), x34()


@case("a scripted function, opaque")
def script_function():
    @torch.jit.script
    def g(x):
        return x * 2 + 1

    return (lambda x: g(x) - 1), x34()


@case("the model itself is compiled")
def traced_jit():
    m = torch.jit.trace(nn.Linear(4, 4), torch.randn(3, 4))
    return m, x34()


@case("a compiled module is opened")
def compiled():
    m = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    return m, x34()


@case("operations in threads")
def threads():
    def f(x):
        out = [None] * 2

        def w(i):
            out[i] = torch.relu(x) * i

        ts = [threading.Thread(target=w, args=(i,)) for i in range(2)]
        [t.start() for t in ts]
        [t.join() for t in ts]
        return out[0] + out[1]

    return f, x34()


@case("operations in a thread pool made inside")
def pool():
    def f(x):
        with ThreadPoolExecutor(2) as p:
            r = list(p.map(lambda i: x * i, range(3)))
        return sum(r)

    return f, x34()


@case("the weight is computed before each call")
def weight_norm():
    return nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), x34()


@case("buffers are written by out= inside no_grad")
def spectral():
    return nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), x34()


@case("hooks that change inputs and outputs")
def hook_changes():
    m = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    m[0].register_forward_hook(lambda m, i, o: o * 2)
    m[1].register_forward_pre_hook(lambda m, i: (i[0] + 1,))
    return m, x34()


@case("four kinds of random numbers")
def dropout_train():
    return nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.RReLU(), nn.AlphaDropout(0.3)).train(), x34()


@case("batch statistics; counters move")
def bn_train():
    return nn.Sequential(nn.BatchNorm1d(4), nn.ReLU(inplace=True)).train(), x34()


@case("running statistics that no version counter shows")
def instnorm():
    return nn.InstanceNorm2d(3, track_running_stats=True).train(), torch.randn(2, 3, 4, 4)


@case("factories and in-place draws")
def random_ops():
    return (
        lambda x: (
            x
            + torch.randn(3, 4)
            + torch.rand_like(x)
            + torch.bernoulli(torch.full_like(x, 0.5))
            + torch.randperm(4)
            + x.clone().normal_()
            + torch.multinomial(torch.rand(3, 4), 4)
        )
    ), x34()


@case("random numbers drawn beside the operation")
def fracpool():
    return nn.FractionalMaxPool2d(2, output_ratio=0.5), torch.randn(1, 2, 8, 8)


@case("a composite that draws")
def gumbel():
    return (lambda x: F.gumbel_softmax(x, hard=True)), x34()


@case("a result of several tensors")
def embedding_bag():
    return nn.EmbeddingBag(10, 4), torch.randint(0, 10, (3, 5))


@case("integer inputs")
def embed():
    return nn.Sequential(nn.Embedding(10, 4, padding_idx=0), nn.Linear(4, 2)), torch.randint(0, 10, (3, 5))


@case("loss functions as operations")
def losses():
    return (
        lambda x: (
            F.cross_entropy(x, torch.tensor([0, 1, 2])) + F.mse_loss(x, x * 2) + F.kl_div(x, x.softmax(1))
        )
    ), x34()


@case("decompositions with named results")
def linalg():
    return (
        lambda x: (
            torch.linalg.svd(x),
            torch.linalg.qr(x),
            torch.linalg.inv(x[:3, :3] @ x[:3, :3].T + torch.eye(3)),
            torch.linalg.eigh(x @ x.T),
        )
    ), x34()


@case("sorting, selection, unique")
def sorts():
    return (
        lambda x: (
            x.sort(),
            torch.topk(x, 2),
            x.max(0),
            torch.unique(x.round()),
            x.median(1),
            torch.kthvalue(x, 1),
        )
    ), x34()


@case("views in lists and tuples")
def splits():
    return (
        lambda x: (
            x.split(2, 1),
            x.chunk(2),
            x.unbind(0),
            torch.tensor_split(x, 2),
            torch.meshgrid(x[0], x[1], indexing="ij"),
        )
    ), x34()


@case("results written into given tensors")
def outkw():
    def f(x):
        y = torch.empty(3, 4)
        torch.add(x, 1, out=y)
        torch.sort(x, out=(torch.empty(0), torch.empty(0, dtype=torch.long)))
        return y * 2

    return f, x34()


@case("lists of tensors written at once")
def foreach():
    def f(x):
        pair = [x * 1, x * 2]
        torch._foreach_add_(pair, 1)
        return torch._foreach_mul(pair, 2)

    return f, x34()


@case("a tensor is pointed at other memory")
def setset():
    def f(x):
        y = x * 1
        z = torch.zeros(3, 4)
        z.set_(y)
        z.add_(1)
        return y + z

    return f, x34()


@case("memory is cut short in place")
def resize():
    def f(x):
        y = x * 1
        y.resize_(2, 2)
        return y + 1

    return f, x34()


@case("shapes change in place")
def metadata():
    def f(x):
        y = x * 1
        z = y + 1
        y.t_()
        y.unsqueeze_(0)
        y.squeeze_(0)
        w = y * 2
        return w, z

    return f, x34()


@case("the data of a tensor is replaced")
def data_set():
    def f(x):
        y = x * 1
        z = y + 0
        y.data = torch.ones(2, 2)
        return y + 1, z

    return f, x34()


@case("overlapping views, written one by one")
def overlap():
    def f(x):
        y = x * 1
        a = y[:2]
        b = y[1:]
        a.add_(1)
        c = b * 2
        b.mul_(3)
        return a + c

    return f, x34()


@case("scattered in-place writes")
def expand_inplace():
    def f(x):
        y = torch.zeros(4)
        y.index_add_(0, torch.tensor([0, 1]), x[0, :2])
        y.scatter_(0, torch.tensor([2]), 5.0)
        y.masked_fill_(y > 1, -1)
        return y + x

    return f, x34()


@case("an empty tensor is filled slice by slice")
def copy_slices():
    def f(x):
        y = torch.empty(3, 4)
        y[0] = x[0]
        y[1:] = x[1:] * 2
        y[:, 0].copy_(x[:, 1])
        return y

    return f, x34()


@case("memory is shared by dlpack and written there")
def dlpack():
    def f(x):
        y = x * 1
        z = torch.from_dlpack(y)
        z.mul_(2)
        return y + 1

    return f, x34()


@case("a tensor subclass")
def subclass():
    class T(torch.Tensor):
        pass

    def f(x):
        return x.as_subclass(T) * 2 + 1

    return f, x34()


@case("the model brings a function mode")
def usermode_inside():
    class MM(TorchFunctionMode):
        def __torch_function__(s, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    def f(x):
        with MM():
            y = torch.relu(x)
        return F.softmax(y, -1)

    return f, x34()


@case("a device context is a function mode too")
def device_ctx():
    def f(x):
        with torch.device("cpu"):
            y = torch.zeros(3, 4)
        return x + y

    return f, x34()


@case("custom operators, one that writes its argument")
def customop():
    @torch.library.custom_op("nltest::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @torch.library.custom_op("nltest::addone", mutates_args={"x"})
    def addone(x: torch.Tensor) -> None:
        x.add_(1)

    def f(x):
        y = twice(x)
        z = y + 0
        addone(y)
        return y + z

    return f, x34()


@case("dynamic quantisation")
def quant():
    m = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear})
    return m, x34()


@case("autograd inside forward")
def gradinside():
    def f(x):
        x = x.detach().requires_grad_(True)
        with torch.enable_grad():
            y = (x**3).sum()
            (g,) = torch.autograd.grad(y, x, create_graph=True)
        return g * 2

    return f, x34()


@case("real and complex views of one memory")
def complexview():
    return (lambda x: torch.view_as_real(torch.view_as_complex(x.view(3, 2, 2).contiguous()) * 1j)), x34()


@case("a composite that calls itself")
def einsum():
    return (lambda x: torch.einsum("ij,kj,kl->il", x, x, x)), x34()


@case("composites of linear algebra")
def tensordot():
    return (
        lambda x: (
            torch.tensordot(x, x, dims=([1], [1])),
            torch.cdist(x, x),
            torch.norm(x),
            x.norm(dim=1),
            torch.stft(torch.randn(1, 64), 16, return_complex=True, window=torch.ones(16)),
        )
    ), x34()


@case("resampling")
def interp():
    return (
        lambda x: (
            F.interpolate(x, scale_factor=2, mode="bilinear"),
            F.grid_sample(x, torch.rand(1, 2, 2, 2) * 2 - 1, align_corners=False),
            F.unfold(x, 2),
            F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2),
        )
    ), torch.randn(1, 3, 4, 4)


@case("a function that calls itself")
def recursion():
    def g(x, n):
        return x if n == 0 else g(torch.relu(x) * 2, n - 1)

    return (lambda x: g(x, 3)), x34()


@case("nested results")
def dict_out():
    return (lambda x: {"a": x + 1, "b": [x * 2, {"c": x - 1}]}), x34()


@case("the model holds a buffer without a shape, and counts its calls in one without dims")
def odd_buffers():
    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("ragged", torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))
            s.register_buffer("n_calls", torch.tensor(0))

        def forward(s, x):
            s.n_calls.add_(1)
            return x * s.n_calls

    return M(), x34()


@case("nothing happens")
def identity():
    return nn.Identity(), x34()


@case("a parameter is the result")
def param_only():
    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.p = nn.Parameter(torch.ones(3))

        def forward(s, x):
            return s.p

    return M(), x34()


@case("the input is overwritten")
def inplace_on_input():
    def f(x):
        x.add_(1)
        return x * 2

    return f, x34()


@case("the model counts its calls in a buffer")
def inplace_on_param():
    class M(nn.Module):
        def __init__(s):
            super().__init__()
            s.register_buffer("n", torch.zeros(1))

        def forward(s, x):
            s.n += 1
            return x + s.n

    return M(), x34()


@case("tensors without elements")
def zero_size():
    return (lambda x: torch.relu(x[:0]) + 1), x34()


@case("boolean and integer indexing")
def scalar_index():
    return (lambda x: x[torch.tensor([0, 2])][:, x[0] > -9]), x34()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_traced_and_proven(name):
    reason, build = CASES[name]
    assert reason
    torch.manual_seed(0)
    model, inputs = build()
    traced = nl.trace(model, inputs)
    report = traced.validate()
    assert report, report
    for array in traced.activations.values():
        assert array.attrs["address"] in traced


def test_at_least_sixty():
    assert len(CASES) >= 60
