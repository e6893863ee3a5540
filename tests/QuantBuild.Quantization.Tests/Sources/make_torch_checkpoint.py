"""Makes torch_checkpoint.bin: the least Llama there is, as torch.save writes it.

The values of a tensor are -5.5, -4.5, ... in the order of its elements, whichever way they are stored: transposed, as parts of one storage, as a
parameter, in half precision.
"""
import collections
import sys

import torch


def values(*shape):
    count = 1
    for size in shape:
        count *= size
    return (torch.arange(count, dtype=torch.float32) - 5.5).reshape(shape)


layer = "model.layers.0."
both = torch.cat([values(2, 4), values(2, 4)])
state = collections.OrderedDict()
state["model.embed_tokens.weight"] = values(3, 4)
state[layer + "input_layernorm.weight"] = values(4)
state[layer + "post_attention_layernorm.weight"] = values(4)
state[layer + "self_attn.q_proj.weight"] = values(4, 4).t().contiguous().t()
state[layer + "self_attn.k_proj.weight"] = both[:2]
state[layer + "self_attn.v_proj.weight"] = both[2:]
state[layer + "self_attn.o_proj.weight"] = torch.nn.Parameter(values(4, 4))
state[layer + "mlp.gate_proj.weight"] = values(4, 4).half()
state[layer + "mlp.up_proj.weight"] = values(4, 4).bfloat16()
state[layer + "mlp.down_proj.weight"] = values(4, 8)[:, :4].contiguous().copy_(values(4, 4))
state["model.norm.weight"] = values(4)
wide = torch.zeros(3, 8)
wide[:, 2:6] = values(3, 4)
state["lm_head.weight"] = wide[:, 2:6]
state["steps"] = 3
state._metadata = collections.OrderedDict([("", {"version": 1})])
torch.save(state, sys.argv[1])
