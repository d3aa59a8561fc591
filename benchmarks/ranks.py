"""How a training step's cost grows with the processes that share it (the same batch for each)."""

import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from detectors import SIZES, batch_of, distiller, for_detector, suite_of
from loss import device_name, synchronize

from fgd.markdown import table
from fgd.training.step import Trainable

ROW = "retinanet_r50"


def measure(device: str, images: int, rounds: int) -> dict:
    """Seconds of a step at 1, 2, ... processes: all GPUs, or two on a CPU."""
    most = torch.cuda.device_count() if device == "cuda" else 2
    counts = [2**k for k in range(most.bit_length()) if 2**k <= most]
    threads = max((os.cpu_count() or 1) // most, 1)
    results = {count: _run(count, device, images, rounds, threads) for count in counts}
    return {
        "device": device_name(device),
        "threads_a_process": threads,
        "batch_a_process": images,
        "ranks": results,
    }


def _run(count: int, device: str, images: int, rounds: int, threads: int) -> dict:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.get_context("spawn").Manager() as manager:
        found = manager.dict()
        arguments = (count, device, images, rounds, threads, port, found)
        multiprocessing.spawn(_rank, args=arguments, nprocs=count)
        return dict(found)


def _rank(rank, count, device, images, rounds, threads, port, found) -> None:
    torch.set_num_threads(threads)
    torch_device = torch.device(device, rank) if device == "cuda" else torch.device("cpu")
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if device == "cuda":
        torch.cuda.set_device(torch_device)
    if count > 1:
        dist.init_process_group("nccl" if device == "cuda" else "gloo", rank=rank, world_size=count)
    name = "coco" if device == "cuda" else "mini"
    with suite_of(name) as suite:
        built = distiller(suite, ROW, torch_device)
    seconds, size = _seconds(built, torch_device, count > 1, images, SIZES[name], rounds)
    if rank == 0:
        found.update(seconds=seconds, gradient_bytes=size)
    if count > 1:
        dist.destroy_process_group()


def _seconds(built, torch_device, distributed, images, size, rounds) -> tuple[float, int]:
    trainable = Trainable(built, torch_device, distributed=distributed)
    optimizer = torch.optim.SGD(built.parameters(), lr=1e-6, momentum=0.9)
    batch = for_detector(batch_of(images, size, 10, torch_device), built)
    times = []
    for _ in range(rounds + 1):
        synchronize(torch_device.type)
        start = time.perf_counter()
        optimizer.zero_grad()
        trainable.train_step(batch, optimizer)["loss"].backward()
        optimizer.step()
        synchronize(torch_device.type)
        times.append(time.perf_counter() - start)
    return min(times[1:]), 4 * sum(p.numel() for p in built.parameters() if p.requires_grad)


def report(result: dict) -> str:
    """Markdown."""
    ranks = result["ranks"]
    alone = ranks[min(ranks)]["seconds"]
    lines = [
        [str(count), f"{1e3 * value['seconds']:.1f}", f"{alone / value['seconds']:.2f}"]
        for count, value in ranks.items()
    ]
    title = f"## Processes: a step of {ROW}, {result['batch_a_process']} images a process"
    return f"{title}\n\n{table(['processes', 'ms', 'efficiency'], lines, left=0)}"
