"""Line charts as PNG, with nothing but zlib: no library has to be there to see a curve."""

import struct
import zlib

WIDTH, PANEL_HEIGHT, MARGIN, GAP = 960, 240, 64, 34
WHITE, BLACK, GREY, LIGHT, RED = (255, 255, 255), (0, 0, 0), (110, 110, 110), (225, 225, 225), (200, 40, 40)
COLOURS = [(31, 119, 180), (255, 127, 14), (44, 160, 44), (148, 103, 189), (140, 86, 75)]
# Three columns by five rows, a row per octal digit from the top; bit 4 is the left column.
GLYPHS = {
    "0": "75557", "1": "26227", "2": "71747", "3": "71717", "4": "55711", "5": "74717", "6": "74757", "7": "71122",
    "8": "75757", "9": "75717", "A": "25755", "B": "65656", "C": "34443", "D": "65556", "E": "74647", "F": "74644",
    "G": "34553", "H": "55755", "I": "72227", "J": "11152", "K": "55655", "L": "44447", "M": "57755", "N": "65555",
    "O": "25552", "P": "65644", "Q": "25573", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552",
    "W": "55775", "X": "55255", "Y": "55222", "Z": "71247", ".": "00002", ",": "00024", "-": "00700", "/": "11244",
    ":": "02020", "%": "51245", "+": "02720", "(": "12221", ")": "42224", "=": "07070",
}
SCALE = 2


class Canvas:
    """Pixels, three bytes each."""

    def __init__(self, width, height):
        self.width, self.height = width, height
        self.rows = [bytearray(bytes(WHITE) * width) for _ in range(height)]

    def dot(self, x, y, colour):
        if 0 <= x < self.width and 0 <= y < self.height:
            self.rows[y][3 * x : 3 * x + 3] = bytes(colour)

    def box(self, x, y, width, height, colour):
        for row in range(y, y + height):
            for column in range(x, x + width):
                self.dot(column, row, colour)

    def line(self, x0, y0, x1, y1, colour, thick=2):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            x, y = round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps)
            self.box(x, y, thick, thick, colour)

    def text(self, x, y, words, colour=BLACK):
        for index, letter in enumerate(words.upper()):
            for row, bits in enumerate(GLYPHS.get(letter, "00000")):
                for column in range(3):
                    if int(bits, 8) & (4 >> column):
                        self.box(x + (index * 4 + column) * SCALE, y + row * SCALE, SCALE, SCALE, colour)

    def png(self):
        """The picture as a file's bytes."""

        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in self.rows), 6)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def nice(value):
    """The next of 1, 2, 5, 10, … at or above the value."""
    step = 10.0 ** (len(str(int(max(value, 1)))) - 1)
    return next(step * factor for factor in (1, 2, 5, 10) if step * factor >= value)


def chart(path, panels, marks=()):
    """Panels below each other: (title, {name: [(x, y), …]}); `marks` are (x, words) across all of them."""
    height = len(panels) * (PANEL_HEIGHT + GAP) + GAP
    canvas = Canvas(WIDTH, height)
    everything = [x for _, lines in panels for points in lines.values() for x, _ in points]
    last = max(everything, default=1) or 1

    def across(x):
        return MARGIN + round(x / last * (WIDTH - 2 * MARGIN))

    for index, (title, lines) in enumerate(panels):
        top = GAP + index * (PANEL_HEIGHT + GAP)
        bottom = top + PANEL_HEIGHT - GAP
        highest = nice(max((y for points in lines.values() for _, y in points), default=1))
        for tick in range(5):
            y = bottom - round(tick / 4 * (bottom - top))
            canvas.line(MARGIN, y, WIDTH - MARGIN, y, LIGHT, 1)
            canvas.text(6, y - 5, f"{highest * tick / 4:g}", GREY)
        for x in range(0, int(last) + 1, max(int(nice(last / 12)), 1)):
            canvas.text(across(x) - 6, bottom + 6, str(x), GREY)
        for x, words in marks:
            canvas.line(across(x), top, across(x), bottom, RED, 1)
            canvas.text(across(x) + 4, top + 2, words, RED)
        canvas.text(MARGIN, top - 16, title)
        written = MARGIN + 8 * (len(title) + 4)
        for colour, (name, points) in zip(COLOURS, lines.items()):
            canvas.text(written, top - 16, name, colour)
            written += 8 * (len(name) + 3)
            for (x0, y0), (x1, y1) in zip(points, points[1:]):
                canvas.line(across(x0), bottom - round(y0 / highest * (bottom - top)), across(x1), bottom - round(y1 / highest * (bottom - top)), colour)
    with open(path, "wb") as out:
        out.write(canvas.png())
