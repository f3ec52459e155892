"""What the classification programs share: data, augmentation, evaluation, models and flags."""
