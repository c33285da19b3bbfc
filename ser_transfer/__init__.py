"""Speech emotion recognition by transfer learning, where the honest number is the easy one to get."""

__version__ = "0.1.0"
