"""Where the tasks of a suite run: `local`, on this machine's devices, or `ray`, on a cluster."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from benchmarks.tasks import Outcome, Processes, Report, Task
from zoo import cluster
from zoo.errors import InputError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Shares:
    """How a machine is shared out: so many tasks at a time, with so many CPU threads each."""

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()  # by the names that CUDA_VISIBLE_DEVICES takes

    def environment(self, worker: int) -> dict[str, str]:
        """Return what tells the processes of a worker which part of the machine is theirs."""
        theirs = {"OMP_NUM_THREADS": str(self.threads)}
        if self.gpus:
            theirs["CUDA_VISIBLE_DEVICES"] = self.gpus[worker % len(self.gpus)]
        return theirs


def num_cores() -> int:
    """Return how many cores this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def visible_gpus() -> tuple[str, ...]:
    """Return the NVIDIA GPUs that may be used, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name for name in visible.split(",") if name)
    if shutil.which("nvidia-smi") is None:
        return ()
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return tuple(str(i) for i, line in enumerate(listed.stdout.splitlines()) if line[:4] == "GPU ")


def share_out(num_tasks: int, workers: int | None, threads: int | None) -> Shares:
    """Return how this machine is shared out: a worker for each GPU, else for each so many threads
    (for each core, where those are not said either), cores in equal parts."""
    gpus, cores = visible_gpus(), num_cores()
    if workers is None:
        workers = len(gpus) or max(1, cores // (threads or 1))
    workers = max(1, min(workers, num_tasks))
    return Shares(workers, threads or max(1, cores // workers), gpus)


def run_local(tasks: Sequence[Task], shares: Shares, report: Report) -> list[Outcome]:
    """Run the tasks in processes of this machine. Interrupted, it stops them and raises."""
    processes, free = Processes(), SimpleQueue[int]()
    for worker in range(shares.workers):
        free.put(worker)

    def run(task: Task) -> Outcome:
        worker = free.get()
        try:
            return processes.run(task, shares.environment(worker))
        finally:
            free.put(worker)

    outcomes = []
    with ThreadPoolExecutor(shares.workers) as pool:
        try:
            for future in as_completed([pool.submit(run, task) for task in tasks]):
                outcomes.append(future.result())
                report(outcomes[-1])
        except BaseException:  # a signal: whatever it was, no task outlives it
            processes.stop()
            raise
    return outcomes


def run_ray(tasks: Sequence[Task], threads: int | None, report: Report) -> list[Outcome]:
    """Run the tasks on the cluster of $RAY_ADDRESS, else on one of this machine; with `threads`
    None each has a machine to itself.

    A task whose worker is lost is tried again, three times, and goes on from its last checkpoint.
    All machines see the folders under the same paths, and have this package installed. Raises
    `InputError` where no machine has as many cores as a task asks for: Ray would wait for ever.
    """
    with cluster.connected("engine=ray") as ray:
        needs = _resources(ray, threads)
        remote = ray.remote(max_retries=3, **needs)(_run_there)
        environment = Shares(1, int(needs["num_cpus"])).environment(0)
        waiting = {remote.remote(task, environment): task for task in tasks}
        outcomes = []
        try:
            while waiting:
                (done,), _ = ray.wait(list(waiting))
                task = waiting.pop(done)
                try:
                    outcomes.append(ray.get(done))
                except ray.exceptions.RayError as error:
                    reason = f"its worker was lost ({type(error).__name__})"
                    outcomes.append(Outcome(task, 0.0, 1, reason))
                report(outcomes[-1])
        finally:
            for left in waiting:
                ray.cancel(left, force=False)
    return outcomes


def _resources(ray: Any, threads: int | None) -> Mapping[str, float]:
    """Return what a task asks for, once a machine was found that has it."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = max((node.get("CPU", 0) for node in nodes), default=0)
    if most < (threads or 1):
        raise InputError(
            f"engine=ray: no machine of the cluster has {threads or 1} CPUs for a run (the most is "
            f"{most:g}); give fewer threads, or start a node that has."
        )
    has_gpu = any(node.get("GPU") for node in nodes)
    return {"num_cpus": threads or most, "num_gpus": float(has_gpu)}


def _run_there(task: Task, environment: Mapping[str, str]) -> Outcome:
    processes = Processes()
    try:
        return processes.run(task, environment)
    except BaseException:  # cancelled
        processes.stop()
        raise
