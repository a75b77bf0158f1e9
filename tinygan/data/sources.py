"""What is known about every data set before it is read: classes, sizes, checksums, mirrors.

Several data sets use MNIST's file names. So a file is identified by its checksum, never by its name
or its folder.

Where the facts come from. Each checksum was found in two independent places; the addresses could
not be tried when this was written.
    KMNIST   addresses: github.com/rois-codh/kmnist, and a copy in tensorflow/swift-models. SHA-256
             of the gzipped files, and class names: TensorFlow Datasets and torchvision.
    EMNIST   address of the archive: torchvision. Its SHA-256: TensorFlow Datasets, which also gives
             its size, and MLDatasets.jl. MD5 of the gzipped files in it: Deeplearning4j and the
             Python package mnists. Class names: torchvision. The numbers of images are those of
             the files; the paper (arXiv:1702.05373) gives smaller ones for the letters.
No checksums of the unpacked files of KMNIST and EMNIST were found.
"""

import math
import string
from dataclasses import dataclass, field

# The names that MNIST gave its files.
TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"
FILES = {"train": (TRAIN_IMAGES, TRAIN_LABELS), "test": (TEST_IMAGES, TEST_LABELS)}
ALL_FILES = FILES["train"] + FILES["test"]


@dataclass(frozen=True)
class Archive:
    """A zip file with the files of several data sets.

    names: the names under which it is distributed; the first one is that of the mirrors. folder:
    its folder in the user's cache folder, and in the folders that are searched. inside: the folder
    of its files when it is unpacked. size: its length in bytes. sha256: its checksum.
    """

    names: tuple[str, ...]
    folder: str
    inside: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set of four files in MNIST's format. They are named after MNIST's files here:
    everywhere, `file` is one of ALL_FILES.

    sizes: {split: number of images}. sha256: {file: checksum of its uncompressed content}, if it is
    published. packed: {file: checksum of the gzipped file}, SHA-256 or MD5, where that is published
    instead. torchvision: the folder in which torchvision keeps it. mirrors: the addresses from
    which it can be downloaded, to which a file's name is appended. homepage: where a person finds
    it. archive: the archive that its files are in. prefix: what the names of its files begin with.
    first_label: the number of the first class in its files. transposed: whether rows and columns of
    the images are exchanged in its files. shuffled: whether the images are known to be in random
    order.
    """

    description: str
    class_names: tuple[str, ...]
    sizes: dict[str, int]
    sha256: dict[str, str] = field(default_factory=dict)
    packed: dict[str, str] = field(default_factory=dict)
    torchvision: str = ""
    mirrors: tuple[str, ...] = ()
    homepage: str = ""
    archive: Archive | None = None
    prefix: str = ""
    first_label: int = 0
    transposed: bool = False
    shuffled: bool = False

    def file_name(self, file: str) -> str:
        """Return the name of `file` in this data set, without ".gz"."""
        return f"{self.prefix}{file.replace('t10k', 'test')}" if self.prefix else file

    def max_bytes(self, file: str) -> int:
        """Return the largest length that `file` may have, gzipped or not."""
        # The header, and what gzip adds to data that it cannot compress, are less than 4096 bytes.
        return math.prod(self.shape(file)) + 4096

    def shape(self, file: str) -> tuple[int, ...]:
        """Return the shape of the array in `file`: (N, 28, 28) for images, (N,) for labels."""
        n = self.sizes["train" if file in FILES["train"] else "test"]
        return (n, 28, 28) if "images" in file else (n,)


DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
KUZUSHIJI_NAMES = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
# Upper and lower case are one class where they look alike. A letter of both cases has the name of
# the upper one in emnist-balanced.
BALANCED_NAMES = tuple(f"{string.digits}{string.ascii_uppercase}abdefghnqrt")

EMNIST = Archive(
    names=("gzip.zip", "emnist.zip", "emnist-gzip.zip"),
    folder="emnist",
    inside="gzip",
    size=561_753_746,
    sha256="fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
)
EMNIST_MIRRORS = ("https://biometrics.nist.gov/cs_links/EMNIST/",)
EMNIST_HOMEPAGE = "https://www.nist.gov/itl/products-and-services/emnist-dataset"

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
        shuffled=True,
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
        homepage="https://github.com/cvdfoundation/mnist",
        shuffled=True,
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
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        shuffled=True,
    ),
    "kmnist": Source(
        description="cursive Japanese characters (Clanuwat et al., 2018)",
        class_names=KUZUSHIJI_NAMES,
        sizes={"train": 60_000, "test": 10_000},
        packed={
            TRAIN_IMAGES: "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            TRAIN_LABELS: "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            TEST_IMAGES: "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            TEST_LABELS: "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        },
        torchvision="KMNIST",
        mirrors=(
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/KMNIST/",
        ),
        homepage="https://github.com/rois-codh/kmnist",
    ),
    "emnist-letters": Source(
        description="handwritten letters, of both cases in one class (Cohen et al., 2017)",
        class_names=tuple(string.ascii_lowercase),
        sizes={"train": 124_800, "test": 20_800},
        packed={
            TRAIN_IMAGES: "8795078f199c478165fe18db82625747",
            TRAIN_LABELS: "c16de4f1848ddcdddd39ab65d2a7be52",
            TEST_IMAGES: "382093a19703f68edac6d01b8dfdfcad",
            TEST_LABELS: "d4108920cd86601ec7689a97f2de7f59",
        },
        torchvision="EMNIST",
        mirrors=EMNIST_MIRRORS,
        homepage=EMNIST_HOMEPAGE,
        archive=EMNIST,
        prefix="emnist-letters-",
        first_label=1,
        transposed=True,
    ),
    "emnist-balanced": Source(
        description="handwritten digits and letters, as many of each (Cohen et al., 2017)",
        class_names=BALANCED_NAMES,
        sizes={"train": 112_800, "test": 18_800},
        packed={
            TRAIN_IMAGES: "4041b0d6f15785d3fa35263901b5496b",
            TRAIN_LABELS: "7a35cc7b2b7ee7671eddf028570fbd20",
            TEST_IMAGES: "6818d20fe2ce1880476f747bbc80b22b",
            TEST_LABELS: "acd3694070dcbf620e36670519d4b32f",
        },
        torchvision="EMNIST",
        mirrors=EMNIST_MIRRORS,
        homepage=EMNIST_HOMEPAGE,
        archive=EMNIST,
        prefix="emnist-balanced-",
        transposed=True,
    ),
}

# Each image of these is a stack of three digits of the data set named here.
STACKED = {"stacked-digits": "digits", "stacked-mnist": "mnist"}
