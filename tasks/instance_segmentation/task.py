"""Train detectors that give a mask of each object."""

from tasks.object_detection.task import Detection


class InstanceSegmentation(Detection):
    """Train as detectors are, on masks too; the average precision of masks judges."""

    masks = True
