#!/usr/bin/env python3
"""A step of adapters of low rank beside a frozen Llama in PyTorch and PEFT: ordinary, or private with Opacus' ghost clipping or hooks. One JSON line says what it took.

usage: Benchmarks/adapters/torch_peer.py DIRECTORY standard|ghost|hooks [--batch 4] [--seq-len 128] [--threads 1] [--steps 3]
DIRECTORY is a model in Hugging Face's layout, as `step-benchmarks write-model` writes one. Needs `pip install torch transformers peft opacus==1.6.0`.
"""
import argparse, json, resource, time
import torch
import torch.nn as nn
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("directory")
parser.add_argument("mode", choices=["standard", "ghost", "hooks"])
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq-len", type=int, default=128)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--steps", type=int, default=3, help="timed ones, after one that isn't")
parser.add_argument("--rank", type=int, default=8)
parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of the frozen weights")
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(0)


def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


before_mb = peak_mb()
base = AutoModelForCausalLM.from_pretrained(options.directory, dtype=getattr(torch, options.dtype), attn_implementation="eager")
base.config.use_cache = False
model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=options.rank, lora_alpha=2 * options.rank, target_modules="all-linear")).train()
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01)
criterion = nn.CrossEntropyLoss()
private = dict(noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=options.batch, loss_reduction="mean")
if options.mode == "hooks":
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model, optimizer = GradSampleModule(model, batch_first=True, loss_reduction="mean"), DPOptimizer(optimizer, **private)
if options.mode == "ghost":
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    model = GradSampleModuleFastGradientClipping(model, batch_first=True, loss_reduction="mean", max_grad_norm=1.0, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(optimizer, **private)
    criterion = DPLossFastGradientClipping(model, optimizer, criterion, loss_reduction="mean")
vocabulary = base.config.vocab_size
ids = torch.randint(vocabulary, (options.batch, options.seq_len + 1))
seconds, processor = [], []
for step in range(options.steps + 1):
    start, processor_start = time.perf_counter(), time.process_time()
    optimizer.zero_grad()
    logits = model(input_ids=ids[:, :-1]).logits.float()
    shape = {"shape": (options.batch, options.seq_len)} if options.mode == "ghost" else {}
    loss = criterion(logits.flatten(0, 1), ids[:, 1:].flatten(), **shape)
    loss.backward()
    optimizer.step()
    if step:
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - processor_start)
print(json.dumps(dict(
    mode=options.mode, trained=sum(p.numel() for p in trained), parameters=sum(p.numel() for p in base.parameters()), seconds=seconds,
    processor_seconds=processor, peak_mb=peak_mb(), before_mb=before_mb, loss=loss.item(), torch=torch.__version__)), flush=True)
