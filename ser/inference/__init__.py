"""What a trained model is used for: the model folder, predictions, timelines, export, pictures."""

from ser.inference.model import Model, open_model
from ser.inference.predictor import Predictor

__all__ = ["Model", "Predictor", "open_model"]
