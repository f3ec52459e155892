"""Train on images in COCO's format: reading, augmentation, batches, evaluation, drawing, and generated scenes."""
