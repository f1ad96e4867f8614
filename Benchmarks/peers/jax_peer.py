"""Trains our shape in JAX: without privacy, or with JAX Privacy's `clipped_grad`, one example at a time. One JSON line says what it took.

The same GPT-2 as ours: pre-norm blocks, biases everywhere but in the head, tanh GELU, learned positions, AdamW; single precision.
"""

import os

from measure import Measurement, arguments

NOISE_MULTIPLIER, MAX_GRAD_NORM = 1.0, 1.0


def parameters_of(shape, rng, np):
    def normal(*sizes):
        return rng.standard_normal(sizes, dtype=np.float32) * np.float32(0.02)

    def linear(inputs, outputs):
        return normal(inputs, outputs), np.zeros(outputs, np.float32)

    def norm():
        return np.ones(shape.width, np.float32), np.zeros(shape.width, np.float32)

    width = shape.width
    model = dict(
        wte=normal(shape.vocabulary, width),
        wpe=normal(shape.positions, width),
        ln_f=norm(),
        blocks=[
            dict(
                ln_1=norm(),
                attn=linear(width, 3 * width),
                attn_out=linear(width, width),
                ln_2=norm(),
                up=linear(width, 4 * width),
                down=linear(4 * width, width),
            )
            for _ in range(shape.layers)
        ],
    )
    if not shape.tied:
        model["head"] = normal(width, shape.vocabulary)
    return model


def main():
    shape = arguments(["standard", "clipped"])
    os.environ["JAX_PLATFORMS"] = "cpu"
    if shape.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    version = f"jax {jax.__version__}"
    if shape.mode == "clipped":
        from importlib.metadata import version as version_of

        from jax_privacy import noise_addition
        from jax_privacy.clipping import clipped_grad

        version += f", jax-privacy {version_of('jax-privacy')}"
    measurement = Measurement(version)

    def layer_norm(weights, x):
        gain, bias = weights
        mean = x.mean(-1, keepdims=True)
        variance = jnp.square(x - mean).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * gain + bias

    def linear(weights, x):
        return x @ weights[0] + weights[1]

    def attend(qkv):
        # `jax.nn.dot_product_attention` gives the same and takes a twelfth longer for the whole step.
        batch, length, _ = qkv.shape
        heads = (batch, length, shape.heads, shape.width // shape.heads)
        q, k, v = (part.reshape(heads).transpose(0, 2, 1, 3) for part in jnp.split(qkv, 3, -1))
        scores = q @ k.transpose(0, 1, 3, 2) * (shape.width // shape.heads) ** -0.5
        visible = jnp.tril(jnp.ones((length, length), bool))
        mixed = jax.nn.softmax(jnp.where(visible, scores, -1e30), -1) @ v
        return mixed.transpose(0, 2, 1, 3).reshape(batch, length, shape.width)

    def logits_of(model, ids):
        length = ids.shape[1]
        x = model["wte"][ids] + model["wpe"][:length]
        for block in model["blocks"]:
            x = x + linear(block["attn_out"], attend(linear(block["attn"], layer_norm(block["ln_1"], x))))
            inner = jax.nn.gelu(linear(block["up"], layer_norm(block["ln_2"], x)), approximate=True)
            x = x + linear(block["down"], inner)
        x = layer_norm(model["ln_f"], x)
        return x @ (model["wte"].T if shape.tied else model["head"])

    def loss_of(model, inputs, targets):
        return optax.softmax_cross_entropy_with_integer_labels(logits_of(model, inputs), targets).mean()

    optimizer = optax.adamw(1e-4, weight_decay=0.01)
    if shape.mode == "standard":

        def step_of(model, state, inputs, targets):
            loss, gradient = jax.value_and_grad(loss_of)(model, inputs, targets)
            updates, state = optimizer.update(gradient, state, model)
            return optax.apply_updates(model, updates), state, loss

    else:
        clipped = clipped_grad(
            loss_of,
            l2_clip_norm=MAX_GRAD_NORM,
            normalize_by=float(shape.batch),
            batch_argnums=(1, 2),
            return_values=True,
            microbatch_size=1,
        )
        noise = noise_addition.gaussian_privatizer(
            stddev=NOISE_MULTIPLIER * MAX_GRAD_NORM / shape.batch, prng_key=jax.random.key(0)
        )
        optimizer = optax.chain(noise, optimizer)

        def step_of(model, state, inputs, targets):
            gradient, examples = clipped(model, inputs, targets)
            updates, state = optimizer.update(gradient, state, model)
            return optax.apply_updates(model, updates), state, examples.values.mean()

    rng = np.random.default_rng(0)
    model = jax.tree.map(jnp.asarray, parameters_of(shape, rng, np))
    measurement.check(sum(leaf.size for leaf in jax.tree.leaves(model)), shape)
    state = optimizer.init(model)
    ids = rng.integers(0, shape.vocabulary, (shape.batch, shape.seq_len + 1), dtype=np.int32)
    inputs, targets = jnp.asarray(ids[:, :-1]), jnp.asarray(ids[:, 1:])
    # Compiled before the clock runs. Model and optimizer state are given away, so that they are updated in place.
    compiled = jax.jit(step_of, donate_argnums=(0, 1)).lower(model, state, inputs, targets).compile()

    def step(_):
        nonlocal model, state
        model, state, loss = compiled(model, state, inputs, targets)
        jax.block_until_ready((model, state, loss))
        return loss

    measurement.run(step, shape)


if __name__ == "__main__":
    main()
