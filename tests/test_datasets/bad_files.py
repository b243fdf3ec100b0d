"""Real files of one picture, good and bad, written by Pillow."""
import io
import struct
import zlib

import numpy as np
from PIL import Image

Y, X = np.mgrid[:48, :64]
RGB = np.stack([X * 4, Y * 5, 255 - X * 3], -1).clip(0, 255).astype(np.uint8)
PICTURE = Image.fromarray(RGB)


def file(image=PICTURE, format='PNG', **kwargs):
    """The bytes of an image in a file."""
    out = io.BytesIO()
    image.save(out, format, **kwargs)
    return out.getvalue()


def png(width, height, bits, colour_type, rows):
    """A PNG of raw rows: Pillow writes none of 16-bit colours."""

    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack(
            '>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(
        b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def cut(content, share=.6):
    return content[:int(len(content) * share)]


def flipped(content):
    """With one byte changed in the middle."""
    content = bytearray(content)
    content[len(content) // 2] ^= 0xff
    return bytes(content)


JPEG = file(format='JPEG', quality=95)
GREY16 = RGB[..., 0].astype(np.uint16) * 257
# content, the kind, and a part of what is said of it
BAD = {
    'empty.jpg': (b'', 'empty', 'is empty'),
    'text.jpg': (b'<html>404</html>', 'no image',
                 "begins with b'<html>404</h"),
    'cut.jpg': (cut(JPEG), 'truncated', 'is cut off'),
    'cut_header.jpg': (JPEG[:100], 'truncated', 'is cut off'),
    'cut_progressive.jpg': (cut(file(format='JPEG', progressive=True)),
                            'truncated', 'is cut off'),
    'cut_at_the_end.jpg': (JPEG[:-40], 'truncated', 'is cut off'),
    'cut.png': (cut(file()), 'truncated', 'is cut off'),
    'damaged.png': (flipped(file()), 'damaged', 'is damaged'),
    'cut.bmp': (cut(file(format='BMP')), 'truncated', 'is cut off'),
    'cut.tif': (cut(file(format='TIFF')), 'truncated', 'is cut off'),
    'cut.gif': (cut(file(format='GIF')), 'truncated', 'is cut off'),
    'float.tif': (file(Image.fromarray(RGB[..., 0].astype(np.float32)),
                       'TIFF'), 'no colours', '32-bit numbers (mode F)'),
    'int.tif': (file(Image.fromarray(RGB[..., 0].astype(np.int32)), 'TIFF'),
                'no colours', '32-bit numbers (mode I)'),
    # a kilobyte each, and gigabytes of pixels
    'huge.png': (png(30000, 30000, 1, 0, b'\0'), 'too large',
                 'Image size (900000000 pixels)'),
    'large.png': (png(12000, 10000, 1, 0, b'\0'), 'too large',
                  '12000x10000 pixels, more than `max_pixels`, 100000000'),
}
