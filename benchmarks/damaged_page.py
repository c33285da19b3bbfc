"""A thousand damaged recordings through the page: an answer or a reason each, and the page goes on.

    python benchmarks/damaged_page.py

The files are those of `damaged_audio.py`, sent one by one to the page's own endpoint, as its tab Listen does.
Exits with 1 if one gets neither an answer nor a reason within `--seconds`, or if a whole recording is not
answered afterwards.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import re
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import get_args

import numpy as np
import soundfile
from damaged_audio import RATE, damaged, voice
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from ser_transfer.audio import Reason
from ser_transfer.interface import build_demo
from ser_transfer.model import EmotionModel
from ser_transfer.tables import text_table


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=1_000, help="damaged files (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--seconds", type=float, default=60.0, help="per file, before it hangs (default: 60)")
    options = parser.parse_args()
    page = build_demo([EmotionModel.from_pretrained()])
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
    client = Client(address, verbose=False, analytics_enabled=False)
    found: Counter[str] = Counter()
    bad, times = [], []
    with tempfile.TemporaryDirectory(prefix="damaged-") as temporary:
        whole = Path(temporary, "whole.wav")
        soundfile.write(whole, voice(), RATE)
        client.predict(handle_file(whole), api_name="/predict")
        for path, mutation in damaged(Path(temporary, "files"), options.files, options.seed).items():
            begun = perf_counter()
            try:
                client.submit(handle_file(path), api_name="/predict").result(timeout=options.seconds)
                outcome = "answered"
            except AppError as error:
                reason = re.search(rf": ({'|'.join(get_args(Reason))}): ", str(error))
                outcome = "refused without a reason" if reason is None else reason[1]
                if reason is None:
                    bad.append(f"{path} ({mutation}): {error}")
            except concurrent.futures.TimeoutError:
                outcome = "no answer in time"
                bad.append(f"{path} ({mutation}): no answer within {options.seconds:g} s")
            found[outcome] += 1
            times.append(perf_counter() - begun)
        told = client.predict(handle_file(whole), api_name="/predict")
    page.close()
    print(text_table([("outcome", "files"), *((name, str(n)) for name, n in found.most_common())]))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(
        f"\n{len(times)} files: median {np.median(times):.3f} s, the slowest {max(times):.3f} s; peak memory "
        f"of page and client {most:.0f} MiB; a whole recording afterwards: {told['readings'][0]['emotion']}"
    )
    print(*bad[:10], sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
