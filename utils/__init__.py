"""Data, training, scores and figures; networks reach these modules only as arguments."""

import cv2

# OpenCV's threads do not survive a fork: a DataLoader worker would wait for them for ever. We work
# on many small images side by side, which gains nothing from threads within one image.
cv2.setNumThreads(0)
