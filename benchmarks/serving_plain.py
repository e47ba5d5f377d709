"""`python -m benchmarks.serving_plain MODEL`: the server that one would write, to compare with.

FastAPI, librosa, eager float32 on all cores, one request at a time; those whose clients have gone
are left out. It answers `/v1/classify` as `zoo.serve` does, for models that are not calibrated.
"""

import argparse
import asyncio
import socket
from typing import BinaryIO

import librosa
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Request, UploadFile
from fastapi.concurrency import run_in_threadpool

from zoo.listening import listening
from zoo.model import GenreModel
from zoo.scores import chunk_length

Answer = dict[str, float]


def classify(model: GenreModel, file: BinaryIO) -> Answer:
    """Return the probabilities of a song: the mean over its chunks."""
    x_T, _ = librosa.load(file, sr=model.sample_rate)
    clip = chunk_length(model)
    starts = listening("all", model.sample_rate, clip)(len(x_T))
    chunks = np.stack([x_T[start : start + clip] for start in starts])
    with torch.no_grad():
        prob_NK = model.probabilities(model(torch.from_numpy(chunks)))
    return dict(zip(model.config.classes, prob_NK.mean(0).tolist(), strict=True))


def make_app(model: GenreModel) -> FastAPI:
    """Return the server of a model."""
    app, one_at_a_time = FastAPI(), asyncio.Lock()

    @app.post("/v1/classify")
    async def answer(request: Request, file: UploadFile) -> dict[str, Answer]:
        async with one_at_a_time:
            if await request.is_disconnected():
                return {}
            return {"probabilities": await run_in_threadpool(classify, model, file.file)}

    return app


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model folder")
    parser.add_argument("--port", type=int, default=8001, help="0 takes a free one")
    options = parser.parse_args()
    model = GenreModel.from_pretrained(options.model).eval()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=2048)
    print(f"serving on http://127.0.0.1:{listener.getsockname()[1]} one at a time", flush=True)
    config = uvicorn.Config(make_app(model), log_level="critical", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
