"""What docs/scale.md tells: its files can be used as they are, and its tables are what the command prints."""

import importlib.util
import os
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from ser_transfer._command import parse_settings
from ser_transfer.embed import EmbedSettings
from ser_transfer.finetune import FinetuneSettings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "scale"
SETTINGS = {"embed": EmbedSettings, "finetune": FinetuneSettings}


@pytest.fixture(scope="module")
def cost_model():
    spec = importlib.util.spec_from_file_location("cost_model", ROOT / "benchmarks" / "cost_model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cost_model"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["cost_model"]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands that stand in for Slurm's and Ray's: each writes down how it was called."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    scripts = {
        "scontrol": "printf 'node1\\nnode2\\n'",
        # Each line in one piece: several write at once.
        "srun": 'echo "$(printf "%q " srun "$@")" >> "$CALLS"',
        "ray": "true",
        "python": 'echo "$(printf "%q " python "$@")" >> "$CALLS"',
    }
    for name, script in scripts.items():
        path = bin_folder / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
    environment = {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": "4711",
        "SLURM_NNODES": "2",
        "SLURM_CPUS_ON_NODE": "64",
        "SLURM_GPUS_ON_NODE": "8",
    }

    def called(file, *arguments):
        done = subprocess.run(
            ["bash", FOLDER / file, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        n_calls, deadline = (3 if file == "ray.sbatch" else 1), time.monotonic() + 30
        while len((tmp_path / "calls").read_text().splitlines()) < n_calls and time.monotonic() < deadline:
            time.sleep(0.05)  # what a script leaves in the background may come after its end
        return [shlex.split(line) for line in (tmp_path / "calls").read_text().splitlines()]

    return called


def understood(call, verb):
    """Parse what follows ``-m ser_transfer.<verb>``."""
    return parse_settings(SETTINGS[verb], call[call.index(f"ser_transfer.{verb}") + 1 :], verb)


def test_a_job_of_two_nodes_embeds_with_a_process_per_gpu(slurm):
    [call] = slurm("embed.sbatch", "--corpus", "folder", "--root", "/data/a folder", "--encoder", "yamnet")
    assert call[0] == "srun"
    flags = dict(pairwise(call))
    assert (flags["--nnodes"], flags["--nproc-per-node"]) == ("2", "8")
    assert flags["--rdzv-endpoint"] == f"node1:{20000 + 4711}"
    settings = understood(call, "embed")
    assert (settings.root, settings.encoder) == ("/data/a folder", "yamnet")


def test_a_job_fine_tunes_with_a_process_per_gpu(slurm):
    [call] = slurm("finetune.sbatch", "--corpus", "ravdess", "--root", "/data/r", "--encoder", "yamnet")
    # The shell of each node puts the command together, from what the job has exported.
    command, name, *arguments = call[call.index("-c") + 1 :]
    assert name == "bash"
    assert understood(["ser_transfer.finetune", *arguments], "finetune").root == "/data/r"
    assert "accelerate launch $kind" in command


def test_a_job_starts_ray_on_each_node_and_embeds_on_it(slurm):
    calls = slurm("ray.sbatch", "--corpus", "folder", "--root", "s3://b/calls", "--encoder", "yamnet")
    [embed] = [call for call in calls if call[0] == "python"]
    settings = understood(embed, "embed")
    assert (settings.engine, settings.address) == ("ray", f"node1:{20000 + 4711}")
    starts = [call for call in calls if call[0] == "srun"]
    assert sorted("--head" in call for call in starts) == [False, True]


def test_ray_accepts_the_description_of_a_cluster():
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())))


def test_costs_are_those_of_the_formula(cost_model):
    # 3600 clips of 10 s at 10 times real time are one hour; half a second to write and to plan is another.
    found = cost_model.cost(
        3600,
        10.0,
        cost_model.Measured(real_time=10.0, row_bytes=1e6, write_seconds=0.5),
        cost_model.Planned(seconds=0.5, memory_bytes=1000.0),
        cost_model.Prices(core_hour=3.0, gigabyte_month=0.5, thousand_requests=10.0),
    )
    assert found.core_hours == pytest.approx(2.0)
    assert found.computing == pytest.approx(6.0)
    assert found.store_bytes == 3.6e9
    assert found.storing == pytest.approx(1.8)
    assert found.plan_bytes == 3.6e6
    assert found.n_shards == pytest.approx(3.6e9 / 2**26)
    assert found.requests == pytest.approx(2 * found.n_shards / 100)


def test_the_tables_are_what_the_command_prints(cost_model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cost_model.py"])
    cost_model.main()
    text = (ROOT / "docs" / "scale.md").read_text()
    begun = text.index("<!-- python benchmarks/cost_model.py -->\n")
    shown = text[begun : text.index("<!-- end -->")].partition("\n")[2]
    assert shown.strip() == capsys.readouterr().out.strip()
