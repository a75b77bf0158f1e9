"""The lecture map: what each slide says, where it is in this house, and what the demos found.

readme.py makes the tables of README.md and README.ko.md in this folder from it. The lecture is
"[모두팝] 생성모델부터 Diffusion 1회" (2023), https://www.youtube.com/watch?v=vZdEGcLU_8U.
"""

# %%
from typing import NamedTuple

import korean

from tinygan.study import result_files

BAR = r"\|"  # in a cell of a table, also within code


class Slide(NamedTuple):
    """says, in_korean: what the slide says. equation: as in the code's comments. code: {file:
    the names in it}. demo: the script that shows it. claims: those of its claims that belong here.
    picture: a file in pictures/. equation_in_korean: an equation with words in it.
    """

    says: str
    in_korean: str
    equation: str
    code: dict[str, str]
    demo: str = ""
    claims: tuple[str, ...] = ()
    picture: str = ""
    equation_in_korean: str = ""


SLIDES = (
    Slide(
        "G imitates the distribution of the data, and D tells it from the fakes",
        "G는 데이터의 분포를 흉내 내고, D는 진짜와 가짜를 구분한다",
        "min_G max_D E log D(x) + E log(1 - D(G(z))); D* = p / (p + q)",
        {"lab/optimal.py": "optimal_D", "gan/losses.py": "bce-minimax"},
        "game2d",
        ("a D that learns alone comes within a tenth of the divergence",),
        "game2d-optimal",
    ),
    Slide(
        "D's outputs, a grid, are driven to 1 on reals and to 0 on fakes",
        "D의 출력(격자)이 진짜에서는 1, 가짜에서는 0이 되도록 학습한다",
        "L_D = -log s(D(x)) - log(1 - s(D(G(z))))",
        {"gan/losses.py": "bce", "models/dcgan.py": "Discriminator(patches=True)"},
        "gan_losses",
        (),
        "gan_losses-grid",
    ),
    Slide(
        "L2 and L1 are possible; cross-entropy, because it punishes a wrong sample hard",
        "L2나 L1을 써도 되지만, 틀린 샘플에 더 큰 페널티를 주는 교차 엔트로피를 쓴다",
        "(D(x) - 1)^2, |D(x) - 1|, -log D(x)",
        {"gan/losses.py": "l2, l1, bce"},
        "gan_losses",
        (
            "all losses train",
            "cross-entropy generates better digits",
            "on probabilities, cross-entropy punishes confident mistakes hardest",
            "on logits, cross-entropy punishes confident mistakes hardest",
        ),
        "gan_losses",
    ),
    Slide(
        "G is rewarded where D's outputs become 1",
        "G는 가짜에 대한 D의 출력이 1에 가까워질수록 보상을 받는다",
        "L_G = -log s(D(G(z))), not log(1 - s(D(G(z))))",
        {"gan/losses.py": "Loss.generator"},
        "game2d",
        ("against a D that is sure, the saturating loss gives G less",),
        "game2d-gradient",
        equation_in_korean="L_G = -log s(D(G(z))), log(1 - s(D(G(z)))) 대신",
    ),
    Slide(
        "Today R1 is added: a small change of the input changes D's output little",
        "요즘은 R1을 더한다: 입력이 조금 바뀌면 D의 출력도 조금만 바뀌게 한다",
        "gamma/2 E |grad_x D(x)|^2",
        {"gan/penalties.py": "r1"},
        "gradient_penalty",
        ("with R1, the game of two numbers converges", "R1 keeps D flat", "R1 makes better digits"),
        "gradient_penalty",
    ),
    Slide(
        "Conditional: is it a real *dog*?",
        "조건부: 진짜 *강아지*인가?",
        "D(x, y) = head(phi(x)) + e(y) . phi(x)",
        {"gan/conditioning.py": "Projection, ConcatImage, AuxiliaryClassifier"},
        "conditional",
        (
            "in D, a projection is better than concatenation",
            "the auxiliary classifier loses variety",
        ),
        "conditional-seven",
    ),
    Slide(
        "The time when drawing digits was enough",
        "숫자만 그려도 되던 시절",
        "",
        {"models/dcgan.py": "RECIPE", "models/quick.py": "RECIPE"},
        "",
        (),
        "digits",
    ),
    Slide(
        "Growing from 4x4 to 1024x1024, no longer used",
        "4x4에서 1024x1024까지 키우기(이제는 쓰지 않는다)",
        "(1 - a) up(x) + a x'",
        {"models/progan.py": "Generator", "models/growth.py": "Growth"},
        "progressive",
        ("growing is faster",),
        "progressive-time",
    ),
    Slide(
        "The class by conditional batch-norm instead of concatenation",
        "concat 대신 조건부 배치 정규화로 클래스를 알려 준다",
        "g_y (x - mean) / deviation + b_y",
        {"nn/norms.py": "ConditionalBatchNorm"},
        "conditional",
        ("in G, conditional batch-norm is better than concatenation",),
        "conditional",
        equation_in_korean="g_y (x - 평균) / 표준편차 + b_y",
    ),
    Slide(
        "Large scale: channels and batch",
        "규모 키우기: 채널 수와 배치 크기",
        "",
        {"models/biggan.py": "Generator"},
        "biggan",
        ("larger batches help after the same number of images", "more channels help"),
        "biggan-scale",
    ),
    Slide(
        "Truncation: cut the improbable ends of the Gaussian at inference",
        "truncation: 추론할 때 가우시안에서 확률이 낮은 양쪽 꼬리를 자른다",
        "z ~ N(0, 1), drawn again while |z| > threshold",
        {"training/sampling.py": "latents, truncate"},
        "biggan",
        ("truncation trades variety for quality",),
        "biggan",
        equation_in_korean="z ~ N(0, 1), |z| > 임계값이면 다시 뽑음",
    ),
    Slide(
        "z to w by fully connected layers: data of shape (a), forced into a Gaussian (b), unwarped "
        "(c)",
        "FC 층(매핑 네트워크)으로 z를 w로 바꾼다: (a)처럼 생긴 데이터를 (b) 가우시안에 억지로 맞춘 "
        "것을 (c) 다시 편다",
        "w = f(z)",
        {"nn/style.py": "Mapping"},
        "stylegan",
        (
            "a mapping keeps points out of the hole",
            "W is straighter than Z",
            "W has shorter paths",
            "W has better separability",
            "a mapping makes paths shorter",
        ),
        "stylegan",
    ),
    Slide(
        "w goes into G, which then follows the condition well",
        "w를 G에 넣으면 G가 조건을 잘 따른다",
        "y_s(w) (x - mean) / deviation + y_b(w)",
        {"models/stylegan.py": "Generator", "ops/normalize.py": "instance_norm"},
        "stylegan",
        ("w follows the class better than z",),
        "stylegan-digits",
        equation_in_korean="y_s(w) (x - 평균) / 표준편차 + y_b(w)",
    ),
    Slide(
        "Progressive growing's fault: the head turns, the teeth stay",
        "점진적 성장의 문제: 고개는 돌아가는데 치아는 그대로다",
        "slope of the features' shift on the image's shift",
        {"models/progan.py": "Generator"},
        "progressive",
        ("growing makes features stick to places",),
        "progressive",
        equation_in_korean="이미지의 이동량에 대한 특징의 이동량의 기울기",
    ),
    Slide(
        "AdaIN's fault: spots",
        "AdaIN의 문제: 물방울 얼룩",
        "peak / mean deviation",
        {"models/stylegan2.py": "AdaIN"},
        "stylegan2",
        (
            "a spot smuggles strength past AdaIN, and not past demodulation",
            "AdaIN has droplets at 32x32",
        ),
        "stylegan2-spots",
        equation_in_korean="최대 편차 / 평균 편차",
    ),
    Slide(
        "(b) AdaIN taken apart; what was done to the constant is removed",
        "(b) AdaIN을 정규화와 변조(modulation)로 나누고, 상수 입력에 하던 연산을 없앤다",
        "x scale(w) + shift(w), behind (x - mean) / deviation",
        {"models/stylegan2.py": "AdaINWrittenOut, MeasuredDeviation"},
        "stylegan2",
        (),
        "stylegan2",
        equation_in_korean="(x - 평균) / 표준편차 다음에 x scale(w) + shift(w)",
    ),
    Slide(
        "(c) noise behind the normalisation; the deviation alone is good enough",
        "(c) 노이즈는 정규화 뒤에, 표준편차만으로도 충분하다",
        "x / deviation, then + noise",
        {"models/stylegan2.py": "MeasuredDeviation"},
        "stylegan2",
        ("the deviation alone is good enough", "noise belongs behind the normalisation"),
        "stylegan2",
        equation_in_korean="x / 표준편차, 그다음 + 노이즈",
    ),
    Slide(
        "(d) demodulation of the weights",
        "(d) 가중치의 디모듈레이션",
        "w'_ijk = s_i w_ijk / sqrt(sum over i and k of (s_i w_ijk)^2)",
        {"models/stylegan2.py": "Demodulated", "nn/style.py": "ModulatedConv2d"},
        "stylegan2",
        ("demodulation gives better digits",),
        "stylegan2",
        equation_in_korean="w'_ijk = s_i w_ijk / sqrt(i와 k에 대한 (s_i w_ijk)^2의 합)",
    ),
    Slide(
        "Lazy regularisation",
        "게으른 정규화(lazy regularization): 페널티를 가끔만 계산한다",
        "k times the penalty, at every k-th update",
        {"training/algorithm.py": "Algorithm", "gan/penalties.py": "Penalty"},
        "stylegan2",
        ("lazy penalties cost little",),
        "stylegan2-spots",
        equation_in_korean="갱신 k번마다 한 번, 페널티의 k배",
    ),
    Slide(
        "With little data, augment for both D and G",
        "데이터가 적으면 D와 G 양쪽에서 증강한다",
        "D(T(x)), D(T(G(z))) in both losses",
        {"gan/augment/diffaug.py": "DiffAugment"},
        "diffaugment",
        ("augmentation helps with 500 images", "augmentation helps with 100 images"),
        "diffaugment",
        equation_in_korean="두 손실 모두에서 D(T(x)), D(T(G(z)))",
    ),
    Slide(
        "Reals only: G draws augmented images",
        "진짜만 증강하면 G가 증강된 이미지를 그린다",
        "D(T(x)), D(G(z))",
        {"gan/augment/__init__.py": "Augment"},
        "diffaugment",
        ("augmenting only the reals leaks",),
        "diffaugment",
    ),
    Slide(
        "D only: G's unaugmented images are judged badly",
        "D에서만 증강하면 G의 증강되지 않은 이미지가 나쁘게 평가된다",
        "D(T(G(z))) in D's loss, D(G(z)) in G's",
        {"gan/augment/__init__.py": "Augment"},
        "diffaugment",
        ("augmenting only in D's step is worse",),
        "diffaugment",
        equation_in_korean="D의 손실에서 D(T(G(z))), G의 손실에서 D(G(z))",
    ),
    Slide(
        "ADA: sometimes, by r, against D's overfitting",
        "ADA: r_t를 보며 확률 p로 증강해 D의 과적합을 막는다",
        "r_t = E[sign D(x)] = 2 accuracy - 1; p rises while r_t > target",
        {"gan/augment/ada.py": "ADA", "gan/augment/__init__.py": "Augment"},
        "ada",
        (
            "ADA helps with 100 images",
            "shifts help with 100 images",
            "rotations that are always applied leak",
            "rotations with p = .6 do not leak",
        ),
        "ada",
        equation_in_korean="r_t = E[sign D(x)] = 2 × 정확도 - 1; r_t > 목표이면 p를 올림",
    ),
    Slide(
        '"Diffusion is the future"',
        '"앞으로는 디퓨전이다"',
        "-log s(D(x) - D(G(z))) + R1 + R2: the GANs' answer of 2024",
        {"models/r3gan.py": "Generator, Discriminator"},
        "r3gan",
        ("a wide range of gamma works", "without the penalties, training fails"),
        "r3gan",
        equation_in_korean="-log s(D(x) - D(G(z))) + R1 + R2: 2024년 GAN의 대답",
    ),
)


GLOSSARY = (  # (term, in Korean, what it means, the same in Korean)
    (
        "real, fake",
        "진짜, 가짜",
        "an image of the data; an image of G",
        "데이터셋의 이미지; G가 만든 이미지",
    ),
    (
        "generator G",
        "생성자 G",
        "the network from latents to images",
        "잠재 벡터로 이미지를 만드는 신경망",
    ),
    (
        "discriminator D, critic",
        "판별자 D, 비평자(critic)",
        "the network from images to logits; those of a critic tell only which image is more real",
        "이미지에 로짓을 매기는 신경망. 비평자의 출력은 어느 이미지가 더 진짜 같은지만 알려 준다",
    ),
    (
        "logit, score",
        "로짓, 점수",
        "D's output, any number",
        "D의 출력. 모든 실수 값을 가질 수 있다",
    ),
    (
        "probability",
        "확률",
        "s(logit) = 1 / (1 + exp(-logit)), from 0 to 1",
        "s(로짓) = 1 / (1 + exp(-로짓)), 0에서 1 사이",
    ),
    (
        "cross-entropy",
        "교차 엔트로피",
        "-log of the probability that is given to the right answer",
        "정답에 준 확률의 -log",
    ),
    ("latent z", "잠재 벡터 z", "the random input of G", "G에 들어가는 무작위 벡터"),
    (
        "batch-norm",
        "배치 정규화",
        "each channel minus its mean over the batch, divided by its deviation; then a scale and a "
        "shift",
        "채널마다 배치 평균을 빼고 표준편차로 나눈 다음, 스케일과 시프트를 적용한다",
    ),
    (
        "AdaIN",
        "AdaIN(적응적 인스턴스 정규화)",
        "the same for each image by itself; scale and shift come from the style",
        "이미지마다 따로 정규화하고, 스케일과 시프트는 스타일에서 얻는다",
    ),
    (
        "embedding",
        "임베딩",
        "a vector for each class, which is learned",
        "클래스마다 하나씩 있는, 학습되는 벡터",
    ),
    (
        "style w",
        "스타일 w",
        "z behind the mapping network; each layer of G receives it",
        "매핑 네트워크를 거친 z. G의 모든 층에 들어간다",
    ),
    (
        "lod",
        "lod(상세도)",
        "level of detail: how many halvings the present size is below the full one",
        "지금 해상도가 최종 해상도를 몇 번 반으로 줄인 것인지",
    ),
    (
        "FID",
        "FID",
        "distance between the features of samples and of real images; lower is better",
        "샘플과 진짜 이미지의 특징 사이의 거리. 낮을수록 좋다",
    ),
    (
        "precision, recall",
        "정밀도, 재현율",
        "share of samples that lie among reals (quality); share of reals that lie among samples "
        "(variety)",
        "진짜 사이에 놓이는 샘플의 비율(품질), 샘플 사이에 놓이는 진짜의 비율(다양성)",
    ),
    (
        "mode collapse",
        "모드 붕괴",
        "G generates only a part of what the data have",
        "G가 데이터의 일부만 그린다",
    ),
    (
        "mode",
        "모드",
        "a cluster of the data, such as one of the 8 Gaussians on the ring, or a digit",
        "데이터의 무리: 원 위의 가우시안 8개 가운데 하나, 또는 숫자 하나",
    ),
    (
        "JSD",
        "JSD(젠슨-섀넌 발산)",
        "the divergence of two distributions: 0 if they are equal, log 2 if they do not overlap",
        "두 분포의 발산: 같으면 0, 겹치지 않으면 log 2",
    ),
    (
        "Wasserstein distance",
        "바서슈타인 거리",
        "how far the mass of one distribution has to be moved to become the other",
        "한 분포를 다른 분포로 옮기는 데 드는 이동 거리",
    ),
    (
        "spectral normalisation",
        "스펙트럼 정규화",
        "weights divided by their largest singular value, so that a layer stretches nothing",
        "층이 입력을 늘이지 않도록 가중치를 가장 큰 특잇값으로 나눈다",
    ),
    (
        "R1, R2",
        "R1, R2",
        "gamma/2 times the squared length of D's gradient, at reals (R1), at fakes (R2)",
        "D의 입력에 대한 기울기 길이의 제곱에 γ/2를 곱한 페널티. 진짜에서 R1, 가짜에서 R2",
    ),
    (
        "lazy regularisation",
        "게으른 정규화(lazy regularization)",
        "a penalty at every k-th update, k times as strong",
        "페널티를 갱신 k번마다 한 번, k배로 준다",
    ),
    (
        "concatenation (concat)",
        "concat",
        "the class beside z or beside the image",
        "클래스를 z나 이미지 옆에 이어 붙인다",
    ),
    (
        "conditional batch-norm",
        "조건부 배치 정규화",
        "each class has its own scale and shift",
        "클래스마다 스케일과 시프트가 따로 있다",
    ),
    (
        "projection",
        "프로젝션",
        "the inner product of D's features and the class's embedding, added to the logit",
        "D의 특징과 클래스 임베딩의 내적을 로짓에 더한다",
    ),
    (
        "truncation",
        "truncation",
        "at inference, a z far from the mean is drawn again, and a w is moved towards the mean",
        "추론할 때 평균에서 먼 z는 다시 뽑고, 스타일 w는 평균 쪽으로 당긴다",
    ),
    (
        "demodulation",
        "디모듈레이션",
        "weights divided by the standard deviation of the outputs that they lead us to expect",
        "가중치로부터 예상되는 출력의 표준편차로 가중치를 나눈다",
    ),
    (
        "held-out images",
        "따로 떼어 둔 이미지",
        "training images that are not trained on, to see whether D memorises",
        "D가 외우는지 보려고 학습에 쓰지 않는 이미지",
    ),
    (
        "recipe",
        "레시피",
        "a paper in tinygan: its networks and its settings",
        "tinygan에서 논문 하나: 신경망과 설정",
    ),
    (
        "leak",
        "leak(증강이 새어 나옴)",
        "augmentations that show in the samples",
        "증강된 모습이 샘플에도 나타난다",
    ),
    (
        "EMA",
        "EMA(지수 이동 평균)",
        "the average of G's weights over the last steps, which makes the samples",
        "최근 스텝의 G 가중치 평균. 샘플은 이것으로 만든다",
    ),
)


def table(language="en"):
    """Print the lecture map as Markdown, in English or ("ko") in Korean."""
    head = {
        "en": "| | slide | equation | file and function | demo: verdicts | picture |",
        "ko": "| | 슬라이드 | 수식 | 파일과 함수 | 데모: 판정 | 그림 |",
    }
    print(head[language], "|---|---|---|---|---|---|", sep="\n")
    for number, slide in enumerate(SLIDES, 1):
        cells = [
            str(number),
            slide.says if language == "en" else slide.in_korean,
            equation_of(slide, language),
            "<br>".join(f"[{file}](../tinygan/{file}): `{n}`" for file, n in slide.code.items()),
            "<br>".join(verdicts_of(slide, language)),
            picture_of(slide, language),
        ]
        print(f"| {' | '.join(cell.replace('|', BAR) for cell in cells)} |")


def equation_of(slide, language):
    """Return a slide's equation as code."""
    in_korean = slide.equation_in_korean if language == "ko" else ""
    equation = in_korean or slide.equation
    return f"`{equation}`" if equation else ""


def picture_of(slide, language):
    """Return the link to a slide's picture, in Korean if there is one."""
    for suffix in ("-ko", "") if language == "ko" else ("",):
        file = f"pictures/{slide.picture}{suffix}.png"
        if slide.picture and (korean.RESULTS.parent / file).exists():
            return f"[{slide.picture}]({file})"
    return ""


def verdicts_of(slide, language):
    """Return the texts of a slide's demo and its verdicts."""
    if not slide.demo:
        return []
    file = result_files.read_json(korean.RESULTS / f"{slide.demo}.json")
    found = file.get("claims", {})
    texts = [f"[{slide.demo}.py]({slide.demo}.py)"]
    for claim in slide.claims:
        verdict = found[claim]["verdict"] if claim in found else "not measured yet"
        if language == "ko":
            claim, verdict = korean.CLAIMS[claim], korean.VERDICTS[verdict]
        texts.append(f"{claim}: **{verdict}**")
    return texts


def print_glossary():
    """Print the glossary as Markdown, in both languages."""
    print("| term | 한국어 | what it means | 뜻 |", "|---|---|---|---|", sep="\n")
    for row in GLOSSARY:
        print(f"| {' | '.join(row)} |")
