"""Weights that their makers publish on model hubs, in archives and in repositories.

What is pinned here was read in public places, never guessed; where a fact was not found, it is
None. A commit fixes the bytes of every small file in a repository, so of those no hash is listed;
of the weights themselves it is wherever somebody states it. `docs/weights.md` says who states what.
"""

from __future__ import annotations

from reelgenre.weights.artefacts import Artefact, ArtefactFile, GitHubFile, HubFile, ZenodoFile


def _hub(
    name: str,
    description: str,
    licence: str,
    repo: str,
    revision: str | None,
    weights: tuple[str, int | None, str | None],
    others: str,
    *,
    pickled: bool = False,
) -> Artefact:
    """A folder of a hub repository: the weights (name, size, sha256) and the small files."""
    path, size, sha256 = weights
    small = (
        ArtefactFile(other, None, None, HubFile(repo, revision, other)) for other in others.split()
    )
    return Artefact(
        name=name,
        description=description,
        licence=licence,
        source=f"https://huggingface.co/{repo}",
        files=(ArtefactFile(path, size, sha256, HubFile(repo, revision, path), pickled), *small),
        folder=True,
    )


def _choi(kind: str, description: str, size: int, sha256: str) -> Artefact:
    name = f"music_tagger_{kind}_weights_theano.h5"
    repo = "keunwoochoi/music-auto_tagging-keras"
    # The commit that added the files; the branch has them still.
    origin = GitHubFile(repo, "90b294091adaada477b9003201dd20a9fe15a3c1", f"data/{name}")
    return Artefact(
        name=f"choi-{kind}",
        description=description,
        licence="MIT",
        source=f"https://github.com/{repo}",
        files=(ArtefactFile(name, size, sha256, origin),),
    )


_PICTURES = (
    _hub(
        "clip-vit-b32",
        "CLIP ViT-B/32, pictures to 512 numbers; the paper's",
        "MIT",
        "openai/clip-vit-base-patch32",
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        (
            "pytorch_model.bin",
            605_247_071,
            "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
        ),
        "config.json preprocessor_config.json",
        pickled=True,
    ),
    _hub(
        "siglip2-base",
        "SigLIP 2 base, patches of 16, pictures of 224, 768 numbers",
        "Apache-2.0",
        "google/siglip2-base-patch16-224",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        (
            "model.safetensors",
            1_500_800_904,
            "612923381c76ec5a9bed335d1c48827e3f2e506ac31b044b63b2031fadee6a0b",
        ),
        "config.json preprocessor_config.json",
    ),
    _hub(
        "vit-base",
        "ViT base of ImageNet, the picture half of the paper's baseline",
        "Apache-2.0",
        "google/vit-base-patch16-224",
        "3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3",
        (
            "model.safetensors",
            None,
            "1cea07110a4a47edc51420b2dda6f3b8b58e7256e8f44b4ea6aa9696162ccb5d",
        ),
        "config.json preprocessor_config.json",
    ),
    _hub(
        "face-expression",
        "ViT that reads seven expressions from faces",
        "Apache-2.0",
        "trpakov/vit-face-expression",
        "c09980ee4484af73734ac0f35412fda62c7daedf",
        (
            "model.safetensors",
            None,
            "48acf03b1fd90ea45c5e91eb3be2f364cee1c1342639962bd4eae1eac2ad2f93",
        ),
        "config.json preprocessor_config.json",
    ),
    _hub(
        "face-detector",
        "YuNet of March 2023, finds faces",
        "MIT",
        "opencv/face_detection_yunet",
        "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310",
        (
            "face_detection_yunet_2023mar.onnx",
            232_589,
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        ),
        "",
    ),
)

_BEATS = "BEATs_iter3_plus_AS2M.pt"
_BEATS_TUNED = "BEATs_iter3_plus_AS2M_finetuned_on_AS2M_cpt2"

# What the outputs of networks trained on AudioSet are called.
_AUDIOSET_CLASSES = ArtefactFile(
    "class_labels_indices.csv",
    14_675,
    "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429",
    GitHubFile("qiuqiangkong/audioset_tagging_cnn", None, "metadata/class_labels_indices.csv"),
)

_SOUND = (
    Artefact(
        name="panns-cnn14-emb128",
        description="PANNs Cnn14 with the 128-wide embedding, sound to 527 tags; the paper's",
        licence="CC-BY-4.0",
        source="https://github.com/qiuqiangkong/audioset_tagging_cnn",
        files=(
            # Nobody was found who states its sha256; the record states size and md5.
            ArtefactFile(
                "Cnn14_emb128_mAP=0.412.pth",
                None,
                None,
                ZenodoFile(3_987_831, "Cnn14_emb128_mAP=0.412.pth"),
                pickled=True,
            ),
            _AUDIOSET_CLASSES,
        ),
    ),
    _hub(
        "ast-audioset",
        "Audio Spectrogram Transformer of AudioSet; the sound half of the paper's baseline",
        "BSD-3-Clause",
        "MIT/ast-finetuned-audioset-10-10-0.4593",
        "f826b80d28226b62986cc218e5cec390b1096902",
        ("model.safetensors", None, None),
        "config.json preprocessor_config.json",
    ),
    Artefact(
        name="beats-iter3-plus",
        description="BEATs iter3+ pre-trained on AudioSet, sound to 768 numbers",
        licence="MIT",
        source="https://github.com/microsoft/unilm/tree/master/beats",
        files=(
            # The makers' own address is dead. This is a copy; three copies on the hub have this
            # hash, so whichever commit serves it, these are the bytes.
            ArtefactFile(
                _BEATS,
                361_499_833,
                "d43cbfad4d7b56381c061d7a24774f908d4d94c72961f6eb1d9090ff18cd8d34",
                HubFile("lpepino/beats_ckpts", None, _BEATS),
                pickled=True,
            ),
        ),
    ),
    Artefact(
        name="beats-iter3-plus-finetuned",
        description="BEATs iter3+ fine-tuned on AudioSet, sound to 527 tags; the release's",
        licence="MIT",
        source="https://github.com/microsoft/unilm/tree/master/beats",
        files=(
            # A copy again; several projects have found these bytes, also at the makers' own.
            ArtefactFile(
                f"{_BEATS_TUNED}.pt",
                363_145_291,
                "e5815275a04b6885e7b8af63d120b29bffae2cd2225cf4915e1ec6d819d3022c",
                HubFile(
                    f"WeiChihChen/{_BEATS_TUNED}",
                    "172e4071a2912392d9151c70750b9a12f55fc54e",
                    f"{_BEATS_TUNED}.pt",
                ),
                pickled=True,
            ),
            _AUDIOSET_CLASSES,
        ),
    ),
    Artefact(
        name="choi-fcn",
        description="Choi's fully convolutional tagger as Won et al. trained it, 64 wide, 16 kHz",
        licence="MIT",
        source="https://github.com/minzwon/sota-music-tagging-models",
        files=(
            ArtefactFile(
                "best_model.pth",
                None,
                None,
                GitHubFile(
                    "minzwon/sota-music-tagging-models",
                    "ffcd1f90b97a1e923a50c6e5283f147cf9dd7dfd",
                    "models/msd/fcn/best_model.pth",
                ),
                pickled=True,
            ),
        ),
    ),
    _choi(
        "cnn",
        "Choi's music tagger, convolutions only, Million Song, 50 tags",
        3_523_792,
        "36184d9fde3e95957bfbf63ee6685258f613ce8cf2f0373c641b1a448c14874b",
    ),
    _choi(
        "crnn",
        "Choi's music tagger, convolutions and recurrence, Million Song, 50 tags",
        1_649_664,
        "783d8198417fd5d6ceee551dea5ec3e7f0210ec743af4819172b5c943044081c",
    ),
)

_SPEECH = (
    _hub(
        "whisper-small",
        "Whisper small, speech recognition, converted for CTranslate2",
        "MIT",
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        (
            "model.bin",
            483_546_902,
            "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
        ),
        "config.json tokenizer.json vocabulary.txt",
    ),
    _hub(
        "whisper-medium",
        "Whisper medium, speech recognition, converted for CTranslate2",
        "MIT",
        "Systran/faster-whisper-medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        (
            "model.bin",
            1_527_906_378,
            "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae",
        ),
        "config.json tokenizer.json vocabulary.txt",
    ),
    _hub(
        "whisper-large-v3-turbo",
        "Whisper large v3 turbo, speech recognition, converted for CTranslate2",
        "MIT",
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "0c94664816ec82be77b20e824c8e8675995b0029",
        (
            "model.bin",
            1_617_884_929,
            "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da",
        ),
        "config.json preprocessor_config.json tokenizer.json vocabulary.json",
    ),
)

_TEXT = (
    _hub(
        "distilbert",
        "DistilBERT base, uncased, 768 numbers per token; the paper's",
        "Apache-2.0",
        "distilbert/distilbert-base-uncased",
        "12040accade4e8a0f71eabdb258fecc2e7e948be",
        (
            "model.safetensors",
            267_954_768,
            "5e3f1108e3cb34ee048634875d8482665b65ac713291a7e32396fb18f6ff0063",
        ),
        "config.json tokenizer.json tokenizer_config.json vocab.txt",
    ),
    _hub(
        "language-detection",
        "XLM-RoBERTa that tells 20 languages apart (Papariello, 2022); the paper's",
        "MIT",
        "papluca/xlm-roberta-base-language-detection",
        "9865598389ca9d95637462f743f683b51d75b87b",
        ("model.safetensors", None, None),
        "config.json sentencepiece.bpe.model special_tokens_map.json tokenizer.json "
        "tokenizer_config.json",
    ),
    _hub(
        "spelling-corrector",
        "BART that corrects English spelling (Guhr, 2023); the paper's",
        "MIT",
        "oliverguhr/spelling-correction-english-base",
        "cf68380bd36caa2d9b2df094002adc885e6cf05b",
        ("model.safetensors", None, None),
        "config.json merges.txt special_tokens_map.json tokenizer.json tokenizer_config.json "
        "vocab.json",
    ),
    _hub(
        "paddleocr-detection",
        "PP-OCRv5 mobile text detection for PaddleOCR 3",
        "Apache-2.0",
        "PaddlePaddle/PP-OCRv5_mobile_det",
        "0d63e78e2b680928f6b1747d76a08db6e645efb7",
        ("inference.pdiparams", None, None),
        "inference.json inference.yml",
    ),
    _hub(
        "paddleocr-recognition",
        "PP-OCRv5 mobile text recognition for PaddleOCR 3, several scripts",
        "Apache-2.0",
        "PaddlePaddle/PP-OCRv5_mobile_rec",
        None,
        ("inference.pdiparams", None, None),
        "inference.json inference.yml",
    ),
    _hub(
        "roberta-sentiment",
        "RoBERTa that reads the sentiment of short texts, 768 numbers",
        "CC-BY-4.0",
        "cardiffnlp/twitter-roberta-base-sentiment-latest",
        "3216a57f2a0d9c45a2e6c20157c20c49fb4bf9c7",
        (
            "pytorch_model.bin",
            501_045_531,
            "4d24a3e32a88ed1c4e5b789fc6644e2e767500554e954b27dccf52a8e762cbae",
        ),
        "config.json merges.txt special_tokens_map.json vocab.json",
        pickled=True,
    ),
)

PUBLISHED: tuple[Artefact, ...] = (*_PICTURES, *_SOUND, *_SPEECH, *_TEXT)
