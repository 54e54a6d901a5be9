"""Labels, splits and features of published data sets and of your own."""

from reelgenre.datasets.labels import (
    Fault,
    LabelledVideo,
    LabelReport,
    LabelTable,
    label_store,
    read_labels,
    sorted_id_split,
)
from reelgenre.datasets.movienet import inner_fence, read_movienet
from reelgenre.datasets.prediction import VideoPrediction, predict_store
from reelgenre.datasets.release import ReleaseReport, import_classifier, import_features

__all__ = [
    "Fault",
    "LabelReport",
    "LabelTable",
    "LabelledVideo",
    "ReleaseReport",
    "VideoPrediction",
    "import_classifier",
    "import_features",
    "inner_fence",
    "label_store",
    "predict_store",
    "read_labels",
    "read_movienet",
    "sorted_id_split",
]
