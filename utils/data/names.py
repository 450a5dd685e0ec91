"""The names of ISIC 2017: its classes, splits, folders and tables; those of the training lists."""

ISIC_2017 = "ISIC 2017"  # what it is called in notes and score files
CLASSES = ("melanoma", "seborrheic_keratosis", "benign")  # of ISIC 2017, by label
# Columns of our tables and names of scores, so that no class is called that.
NO_CLASS = frozenset(
    (
        *("id", "label", "all", "fold", "predicted", "sureness", "margin", "right", "turn"),
        *("official", "coursework", "one_vs_rest", "micro", "macro", "mean"),
        *("mean_auc", "accuracy", "balanced_accuracy"),
    )
)
SPLITS = ("train", "validation", "test")
TRAIN_LISTS = ("official", "extended", "patches")
IMAGE_FOLDERS = {
    "train": ("ISIC-2017_Training_Data", "Aug_Training_Data"),
    "validation": ("ISIC-2017_Validation_Data",),
    "test": ("ISIC-2017_Test_v2_Data", "ISIC-2017_Test_Data"),
}
PREFIXES = {
    "train": ("ISIC-2017_Training",),
    "validation": ("ISIC-2017_Validation",),
    "test": ("ISIC-2017_Test_v2", "ISIC-2017_Test"),
}
EXTENDED_LABELS = "ISIC-2017_Training_Aug_Part3_GroundTruth.csv"
LABEL_COLUMNS = ("image_id", "melanoma", "seborrheic_keratosis")
MASK_ENDING = "_segmentation.png"
