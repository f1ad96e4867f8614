#!/usr/bin/env python3
"""The job of docs/models.md, MiniLM on SST-2, in PyTorch and Opacus, as its users would write it: the same model and head, records, Poisson batches, clipping,
noise, AdamW and schedule. One JSON line says what it took.

usage: Benchmarks/utility/opacus_sst2.py MODEL TRAIN.tsv DEV.tsv --trainable bias|lora|all --steps N [options]
Needs `pip install torch transformers peft opacus==1.6.0`.
"""
import argparse, csv, json, resource, time
import torch
from opacus import PrivacyEngine
from opacus.utils.batch_memory_manager import BatchMemoryManager
from transformers import AutoTokenizer, BertForSequenceClassification

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("model", "train", "dev"):
    parser.add_argument(name)
parser.add_argument("--trainable", choices=["all", "bias", "lora"], default="lora")
parser.add_argument("--grad-sample-mode", choices=["ghost", "hooks"], default="ghost")
parser.add_argument("--batch-size", type=int, default=2048)
parser.add_argument("--physical", type=int, default=64, help="records of a microbatch")
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--schedule-steps", type=int, help="of the whole job (default: --steps)")
parser.add_argument("--warmup", type=int, default=8)
parser.add_argument("--noise-multiplier", type=float, default=0.7)
parser.add_argument("--max-grad-norm", type=float, default=8)
parser.add_argument("--learning-rate", type=float, default=1e-3)
parser.add_argument("--lora-rank", type=int, default=8)
parser.add_argument("--lora-alpha", type=float, default=16)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seed", type=int, default=0)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(options.seed)


def records(path):
    with open(path, newline="", encoding="utf8") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    first_is_label = rows[0][0] in ("0", "1")
    return [(row[1], int(row[0])) if first_is_label else (row[0], int(row[1])) for row in rows]


def model():
    result = BertForSequenceClassification.from_pretrained(
        options.model, num_labels=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager"
    )
    if options.trainable == "lora":
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            task_type="SEQ_CLS", r=options.lora_rank, lora_alpha=options.lora_alpha, modules_to_save=["classifier", "pooler"],
            target_modules=["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"],
        )
        result = get_peft_model(result, config)
    if options.trainable == "bias":
        for name, parameter in result.named_parameters():
            parameter.requires_grad = name.endswith(".bias") or "classifier" in name or "pooler" in name
    return result.train()


tokenizer = AutoTokenizer.from_pretrained(options.model)
training, held_out = records(options.train), records(options.dev)


def collate(batch):
    if not batch:
        return None
    texts, labels = zip(*batch)
    return tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt"), torch.tensor(labels)


def accuracy(network):
    network.eval()
    right = 0
    with torch.no_grad():
        for first in range(0, len(held_out), 64):
            inputs, labels = collate(held_out[first : first + 64])
            right += (network(**inputs).logits.argmax(-1) == labels).sum().item()
    network.train()
    return right / len(held_out)


network = model()
trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
optimizer = torch.optim.AdamW(trained, lr=options.learning_rate, weight_decay=0.01)
loader = torch.utils.data.DataLoader(training, batch_size=options.batch_size, collate_fn=collate)
parts = PrivacyEngine().make_private(
    module=network, optimizer=optimizer, data_loader=loader, noise_multiplier=options.noise_multiplier, max_grad_norm=options.max_grad_norm,
    grad_sample_mode=options.grad_sample_mode, criterion=torch.nn.CrossEntropyLoss(),
)
ghost = options.grad_sample_mode == "ghost"
network, optimizer, criterion, loader = parts if ghost else (parts[0], parts[1], torch.nn.CrossEntropyLoss(), parts[2])
whole = options.schedule_steps or options.steps
scheduler = torch.optim.lr_scheduler.LambdaLR(
    getattr(optimizer, "original_optimizer", optimizer),
    lambda step: min((step + 1) / max(1, options.warmup), max(0, (whole - step) / max(1, whole - options.warmup))),
)
done, seconds, processor, count = 0, [], [], 0
start, processor_start = time.perf_counter(), time.process_time()
while done < options.steps:
    with BatchMemoryManager(data_loader=loader, max_physical_batch_size=options.physical, optimizer=optimizer) as batches:
        for batch in batches:
            if batch is not None:
                inputs, labels = batch
                optimizer.zero_grad()
                criterion(network(**inputs).logits, labels).backward()
                optimizer.step()
                count += len(labels)
            if optimizer._is_last_step_skipped:
                continue
            scheduler.step()
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - processor_start)
            start, processor_start = time.perf_counter(), time.process_time()
            done += 1
            if done == options.steps:
                break
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(dict(
    trainable=options.trainable, steps=done, records=count, seconds=seconds, processor_seconds=processor, peak_mb=peak_mb, before_mb=before_mb,
    trained=sum(p.numel() for p in trained), accuracy=accuracy(network), torch=torch.__version__)))
