"""What is known about every data set before it is read: classes, sizes, checksums, mirrors.

MNIST and Fashion-MNIST use the same file names. So a file is identified by its SHA-256, never by
its name or its folder.
"""

from dataclasses import dataclass

# The names that MNIST gave its files.
TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = {"train": (TRAIN_IMAGES, TRAIN_LABELS), "test": (TEST_IMAGES, TEST_LABELS)}
ALL_FILES = FILES["train"] + FILES["test"]


@dataclass(frozen=True)
class Source:
    """A data set of four files in MNIST's format.

    sizes: {split: number of images}. sha256: {file: checksum of its uncompressed content}.
    torchvision: the folder in which torchvision keeps it. mirrors: the addresses from which it can
    be downloaded, to which a file's name is appended.
    """

    description: str
    class_names: tuple[str, ...]
    sizes: dict[str, int]
    sha256: dict[str, str]
    torchvision: str = ""
    mirrors: tuple[str, ...] = ()

    def shape(self, file: str) -> tuple[int, ...]:
        """Return the shape of the array in `file`: (N, 28, 28) for images, (N,) for labels."""
        n = self.sizes["train" if file in FILES["train"] else "test"]
        return (n, 28, 28) if "images" in file else (n,)


DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

SOURCES = {
    "digits": Source(
        description="handwritten digits: the first part of MNIST, built into tinygan",
        class_names=DIGIT_NAMES,
        sizes={"train": 10_000, "test": 2_000},
        sha256={
            TRAIN_IMAGES: "2889698e6bc3614913e76901316712919d1998fc2b44512451bfe65bc1e668b1",
            TRAIN_LABELS: "651e38e2ac0632f5113ec18f1df4977117f953197819034009971a6675a0df78",
            TEST_IMAGES: "3f6bd66dee48df299584c67669bceee490faa25f931496bd7473b42106d7daed",
            TEST_LABELS: "7b098e5f6a3065807cebeabf36fb1724a8aff19f2673ac08b4923e0e8c715bce",
        },
    ),
    "mnist": Source(
        description="handwritten digits (LeCun, Cortes and Burges)",
        class_names=DIGIT_NAMES,
        sizes={"train": 60_000, "test": 10_000},
        sha256={
            TRAIN_IMAGES: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            TRAIN_LABELS: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            TEST_IMAGES: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            TEST_LABELS: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        torchvision="MNIST",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
    ),
    "fashion-mnist": Source(
        description="clothes and shoes (Xiao, Rasul and Vollgraf, 2017)",
        class_names=FASHION_NAMES,
        sizes={"train": 60_000, "test": 10_000},
        sha256={
            TRAIN_IMAGES: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            TRAIN_LABELS: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            TEST_IMAGES: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            TEST_LABELS: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
        torchvision="FashionMNIST",
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
    ),
}

# Each image of these is a stack of three digits of the data set named here.
STACKED = {"stacked-digits": "digits", "stacked-mnist": "mnist"}
