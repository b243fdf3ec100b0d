"""Real digits as files of a folder."""
import cv2
import numpy as np
from sklearn.datasets import load_digits


def write_digits(folder, numbers, by_class=False):
    """Writes digits as PNG files of 16x16 pixels."""
    digits = load_digits()
    for number in numbers:
        image = cv2.resize((digits.images[number] * 15.9).astype(np.uint8),
                           (16, 16), interpolation=cv2.INTER_CUBIC)
        place = folder / (f'class {digits.target[number]}' if by_class else
                          f'{number % 3}')
        place.mkdir(parents=True, exist_ok=True)
        (place / f'{number:04}.png').write_bytes(
            cv2.imencode('.png', image)[1])
    return str(folder)


def of_classes(classes, each, first=0):
    """Numbers of so many digits of some classes."""
    target = load_digits().target[first:]
    return [first + number for one in classes
            for number in np.flatnonzero(target == one)[:each].tolist()]
