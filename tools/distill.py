"""From a folder of images to a better backbone, from a checkout.

Once installed, the same is `repfusion distill`.
"""
import sys

from repfusion_mm.__main__ import main

if __name__ == '__main__':
    sys.exit(main(['distill', *sys.argv[1:]]))
