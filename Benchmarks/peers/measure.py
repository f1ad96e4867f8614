"""What all peers do alike: options, the clock, and the line that says what it took."""

import argparse
import json
import resource
import time


def arguments(modes):
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=modes)
    for name in ["layers", "width", "heads", "vocabulary", "positions", "parameters"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--tied", action="store_true")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3, help="timed ones")
    parser.add_argument("--warm-up", type=int, default=2, help="steps before them")
    return parser.parse_args()


def peak_mb():
    """The largest resident set so far. Linux counts it in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Measurement:
    def __init__(self, version):
        """To be made when all is imported and nothing of the model exists."""
        self.version = version
        self.before_mb = peak_mb()

    def check(self, parameters, shape):
        if parameters != shape.parameters:
            raise SystemExit(f"Error: {parameters} parameters, ours has {shape.parameters}: not the same model")

    def run(self, step, shape):
        """`step(index)` is one optimizer step, all of it; it returns the loss."""
        seconds, processor_seconds = [], []
        for index in range(shape.warm_up + shape.steps):
            start, processor_start = time.perf_counter(), time.process_time()
            loss = step(index)
            if index >= shape.warm_up:
                seconds.append(time.perf_counter() - start)
                processor_seconds.append(time.process_time() - processor_start)
        result = dict(
            seconds=seconds,
            processor_seconds=processor_seconds,
            peak_mb=peak_mb(),
            before_mb=self.before_mb,
            loss=float(loss),
            version=self.version,
        )
        print(json.dumps(result), flush=True)
