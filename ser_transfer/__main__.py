"""`ser-transfer <verb>`, the same as `python -m ser_transfer.<verb>`."""

from __future__ import annotations

import importlib
import signal
import sys

from ser_transfer._interrupts import before_the_work

VERBS = {
    "explore": "a look at a corpus before anything is learned: counts, pitch, level, single clips, defects",
    "embed": "recordings through an encoder, into the store",
    "tidy": "the store looked after: every byte verified, small shards merged, what nobody uses removed",
    "audit": "what the sides of a split share, before anything is trained",
    "train": "a head on stored embeddings, with a speaker-independent score",
    "pretrain": "an encoder's own pretraining, continued on a corpus without its labels",
    "finetune": "an encoder's own weights, with a speaker-independent score",
    "compare": "encoders, layers, heads and fusions on the same folds, in one table and one page",
    "evaluate": "a saved model on another corpus",
    "predict": "the emotion of recordings, or its course through them",
    "export": "a model as one ONNX file, checked against PyTorch",
    "demo": "the page in the browser: hear, see and compare",
    "list": "the models that lie here, with their scores",
    "card": "the model card of a run, as the Hub would show it",
    "share": "a run's model, embeddings, results or page, on the Hugging Face Hub",
    "quickstart": "both on a small synthetic corpus, without any download",
}


def main() -> int:
    """Run the verb that the first argument names, and return its exit code."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in VERBS:
        signal.signal(signal.SIGINT, before_the_work)
        module = importlib.import_module(f"ser_transfer.{arguments[0]}")
        sys.argv[1:] = arguments[1:]
        return int(module.main())
    asked = not arguments or arguments[0] in ("-h", "--help")
    lines = ["usage: ser-transfer VERB [RECIPE.yaml] [--key value ...]", ""]
    lines += [f"  {verb:<12}{summary}" for verb, summary in VERBS.items()]
    lines += ["", "ser-transfer VERB --help lists the settings of a verb."]
    if not asked:
        lines.insert(0, f"error: no verb {arguments[0]!r}; known are {', '.join(VERBS)}\n")
    print("\n".join(lines), file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 1


if __name__ == "__main__":
    sys.exit(main())
