"""The benchmark's queries with dp_accounting and prv_accountant, where they are installed."""

import statistics
import time


def measure(what, body, repetitions=9):
    value = body()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        value = body()
        times.append(time.perf_counter() - start)
    print(f"{what}\t{value}\t{statistics.median(times) * 1e3:.3f} ms", flush=True)


Q, SIGMA, STEPS, DELTA = 0.01, 1.0, 10_000, 1e-6

try:
    import dp_accounting
    from dp_accounting import pld, rdp

    step = dp_accounting.PoissonSampledDpEvent(Q, dp_accounting.GaussianDpEvent(SIGMA))

    def composed(accountant):
        return accountant.compose(step, STEPS).get_epsilon(DELTA)

    measure("epsilon dp_accounting pld (1e-4)", lambda: composed(pld.PLDAccountant()))
    measure("epsilon dp_accounting rdp", lambda: composed(rdp.RdpAccountant()))

    def event(sigma):
        return dp_accounting.SelfComposedDpEvent(
            dp_accounting.PoissonSampledDpEvent(Q, dp_accounting.GaussianDpEvent(sigma)), STEPS)

    measure(
        "calibration dp_accounting pld, ε 3",
        lambda: dp_accounting.calibrate_dp_mechanism(
            pld.PLDAccountant, event, 3.0, DELTA, dp_accounting.ExplicitBracketInterval(0.5, 5), tol=1e-3),
        repetitions=1)
except ImportError as error:
    print(f"dp_accounting: {error}")

try:
    from prv_accountant import PRVAccountant
    from prv_accountant.privacy_random_variables import PoissonSubsampledGaussianMechanism

    def prv():
        accountant = PRVAccountant(
            prvs=[PoissonSubsampledGaussianMechanism(sampling_probability=Q, noise_multiplier=SIGMA)],
            max_self_compositions=[STEPS], eps_error=0.01, delta_error=DELTA / 1000)
        return accountant.compute_epsilon(delta=DELTA, num_self_compositions=[STEPS])

    measure("epsilon prv_accountant (eps_error 0.01)", prv, repetitions=3)
except ImportError as error:
    print(f"prv_accountant: {error}")
