"""Model cards: what the Hub shows of a model, made from the run that trained it."""

from ser_transfer.card.card import ModelCard, card_of_run
from ser_transfer.card.errors import CardError
from ser_transfer.card.listing import ListedRun, list_text, runs_in

__all__ = ["CardError", "ListedRun", "ModelCard", "card_of_run", "list_text", "runs_in"]
