"""What a trained model is used for: the model package, predictions, robustness check, export, pictures."""
