"""The other side of the benchmark gptq-peer: quantizes a linear with the GPTQ code of a folder, and says what it took.

gptq_peer.py <folder> <weight> <hessian> <outputs> <inputs> <bits> <group size> <damping> <threads>

The folder has a gptq.py (class GPTQ with add_batch and fasterquant) and a quant.py (class Quantizer). The weight [outputs, inputs] and the Hessian
[inputs, inputs] are raw float32. Each line of standard input is a task, "gemm" or "quantize" with "0" or "1" for activation order and for the search of
each group's range; each answer is a line of JSON.
"""

import contextlib
import io
import json
import sys
import time
import types

import torch


def import_reference(folder):
    """Imports the folder's two modules. Of transformers they want one class, and of CUDA that it is done."""
    try:
        import transformers  # noqa: F401
    except ImportError:
        stub = types.ModuleType("transformers")
        stub.Conv1D = type("Conv1D", (torch.nn.Module,), {})
        sys.modules["transformers"] = stub
    if not torch.cuda.is_available():
        torch.cuda.synchronize = lambda *arguments: None
    sys.path.insert(0, folder)
    import gptq
    import quant

    return gptq.GPTQ, quant.Quantizer


def gemm():
    """Seconds of a float32 product of 2048 x 2048 matrices, the best of five."""
    a = torch.randn(2048, 2048)
    b = torch.randn(2048, 2048)
    best = float("inf")
    for _ in range(6):
        start = time.perf_counter()
        a.mm(b)
        best = min(best, time.perf_counter() - start)
    return {"seconds": best}


def main():
    folder, weight_file, hessian_file = sys.argv[1:4]
    outputs, inputs, bits, group_size = (int(value) for value in sys.argv[4:8])
    damping = float(sys.argv[8])
    torch.set_num_threads(int(sys.argv[9]))
    reference, quantizer = import_reference(folder)
    weight = torch.from_file(weight_file, size=outputs * inputs).view(outputs, inputs).clone()
    hessian = torch.from_file(hessian_file, size=inputs * inputs).view(inputs, inputs).clone()

    @torch.no_grad()
    def quantize(act_order, search):
        linear = torch.nn.Linear(inputs, outputs, bias=False)
        linear.weight.data = weight.clone()
        job = reference(linear)
        job.H = hessian.clone()
        job.quantizer = quantizer()
        job.quantizer.configure(bits, perchannel=True, sym=False, mse=search)
        with contextlib.redirect_stdout(io.StringIO()):
            start = time.perf_counter()
            job.fasterquant(percdamp=damping, groupsize=group_size, actorder=act_order)
            seconds = time.perf_counter() - start
        difference = weight - linear.weight.data
        error = difference.mm(hessian).mul_(difference).sum(dtype=torch.float64).item()
        return {"seconds": seconds, "error": error}

    print(json.dumps({"version": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        task = line.split()
        print(json.dumps(gemm() if task[0] == "gemm" else quantize(task[1] == "1", task[2] == "1")), flush=True)


main()
