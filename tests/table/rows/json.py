"""Labels in JSON: one flat array of whole numbers."""
import numpy as np
from make import images, png, read

x = images(3, 1, 32, 3)
SHEET = png(x.reshape(3, 1024, 3))


def refused(text):
    def steps(c):
        c.write("data_batch_1.png", SHEET), c.write("train_labels.json", text)
        c.refused(r"labels\.json", "data", "data_batch_1.png", "train_labels.json", "o.h5")
    return steps


def taken(text, labels):
    def steps(c):
        c.write("data_batch_1.png", SHEET), c.write("train_labels.json", text)
        c.accepted("data", "data_batch_1.png", "train_labels.json", "o.h5")
        c.same(read("o.h5", "train/labels").tolist(), labels, "labels")
        c.same(read("o.h5", "train/images").tobytes(), x.tobytes(), "pixels")
    return steps


def rows(add, random):
    for name, text in (("good", "[1, 2, 3]"), ("no spaces", "[1,2,3]"), ("lines", "[\n 1,\n 2,\r\n\t3 ]\n"), ("zeros", "[0,0,0]")):
        add(name, taken(text, [0, 0, 0] if name == "zeros" else [1, 2, 3]))
    add("a large label", taken("[1,2,1000000]", [1, 2, 1000000]))
    texts = {
        "words behind": "[1,2,3] and more", "an array behind": "[1,2,3][4]", "a bracket behind": "[1,2,3]]",
        "a comma behind": "[1,2,3],", "not closed": "[1,2,3", "not opened": "1,2,3]", "two commas": "[1,2,,3]",
        "comma at the end": "[1,2,3,]", "comma at the start": "[,1,2,3]", "no comma": "[1 2 3]", "half numbers": "[1,2.5,3]",
        "exponent": "[1,2e0,3]", "negative": "[1,-2,3]", "2^31": "[1,2147483648,3]", "2^32": "[4294967296,2,3]",
        "2^64": "[1,18446744073709551616,3]", "2^64 and 1": "[1,18446744073709551617,3]", "texts": '["1","2","3"]', "an object": '{"labels": [1,2,3]}',
        "nested": "[[1,2,3]]", "nested twice": "[[1],[2],[3]]", "null": "[1,null,3]", "true": "[true,2,3]", "hexadecimal": "[0x1,2,3]",
        "a plus sign": "[+1,2,3]", "leading zero": "[01,2,3]", "empty array": "[]", "empty file": "", "blank": " \n ", "zero byte": "[1,2,\x003]",
        "zero byte behind": "[1,2,3]\0[4]", "a comment": "[1,2,3] // three", "no array": "7", "semicolons": "[1;2;3]", "byte order mark": "\ufeff[1,2,3]",
        "NaN": "[NaN,2,3]", "form feed": "[1,\f2,3]", "many brackets": "[" * 100000,
    }
    for name, text in texts.items(): add(name, refused(text))

    def count(n):
        def steps(c):
            c.write("data_batch_1.png", SHEET), c.write("train_labels.json", str(list(range(n))))
            c.refused("%d" % n, "data", "data_batch_1.png", "train_labels.json", "o.h5")
        return steps
    for n in (1, 2, 4, 300): add("%d labels of 3" % n, count(n))
