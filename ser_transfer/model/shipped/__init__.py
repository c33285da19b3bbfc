"""The models that ship with the package; ``python -m ser_transfer.model.shipped`` makes them."""
