"""Pictures and labels: readers of the published layout, augmentation, and rendered film. numpy and cv2 only."""
