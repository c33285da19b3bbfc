"""Cards: what the Hub shows of a model, made from the run that trained it, or from what the model says."""

from ser_transfer.cards.errors import CardError
from ser_transfer.cards.listing import ListedRun, list_text, runs_in
from ser_transfer.cards.model_card import ModelCard, card_of_run
from ser_transfer.cards.short_card import card_of_model

__all__ = ["CardError", "ListedRun", "ModelCard", "card_of_model", "card_of_run", "list_text", "runs_in"]
