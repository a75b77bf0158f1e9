"""Draw the figures of the demos in Korean, from the results in demos/results/.

    python demos/korean_pictures.py                  # all demos whose full results are there
    python demos/korean_pictures.py ada stylegan2    # some of them
    python demos/korean_pictures.py --font FILE.ttf  # make a font's subset anew (needs fonttools)

It runs the demos' own scripts, which find their results and train nothing, and writes
pictures/NAME-ko.png. A text without a translation is an error. The fonts in fonts/ have the Hangul
that this file needs; they are subsets of Nanum Gothic and Nanum Gothic Bold under another name, as
their licence requires.
"""

# %%
import argparse
import re
import runpy
import sys
from pathlib import Path

import matplotlib
from matplotlib import font_manager

from tinygan.study import Study, result_files

DEMOS = Path(__file__).parent
FONTS = DEMOS / "fonts"
SAME = re.compile(  # what is written alike in both languages
    r"[^A-Za-z]*|\$.*\$|x[\d.]+|\d+x\d+( \d)?|\([a-d]\)|K = \d+|[zw] [12]|FID|D|G|Z|W|p|r_t|R1"
    r"|R1, R2|WGAN-GP|ADA|L1|L2|GFLOP/s|tinygan|PyTorch|AdaIN|x|tanh|psi|mlp|lenet|dcgan(-r1)?"
    r"|wgan-gp|stylegan2"
)

# %% English, with {} for what is translated by itself (a number stays); Korean
PHRASES = {
    # labels
    "real": "진짜",
    "fake": "가짜",
    "fakes": "가짜",
    "none": "증강 없음",
    "shifts": "평행 이동",
    "both": "진짜와 가짜 모두",
    "reals only": "진짜만",
    "D's step only": "D의 스텝에서만",
    "real images": "진짜 이미지",
    "augmented": "증강된 진짜",
    "without": "R1 없음",
    "R1, gamma .2": "R1, γ = 0.2",
    "R1, gamma 2": "R1, γ = 2",
    "cross-entropy": "교차 엔트로피",
    "{} on scores": "{}(로짓)",
    "{} on probabilities": "{}(확률)",
    "batch-norm": "배치 정규화",
    "concatenation": "concat",
    "G {}, D {}\n{} right": "G {}, D {}\n정답 {}",
    "G {}, D {}": "G {}, D {}",
    "G {}\nD {}": "G {}\nD {}",
    "concat": "concat",
    "classifier": "보조 분류기",
    "projection": "프로젝션",
    "growing": "점진적 성장",
    "full size at once": "처음부터 전체 해상도",
    "at once": "전체 해상도",
    "skips": "스킵 연결",
    "residual": "잔차 연결",
    "2 layers": "매핑 네트워크 2층",
    "no mapping": "매핑 네트워크 없음",
    "saturating": "포화하는 손실",
    "non-saturating": "포화하지 않는 손실",
    "relativistic": "상대론적",
    "relativistic, R1, R2": "상대론적, R1, R2",
    "relativistic,\nR1, R2": "상대론적,\nR1, R2",
    "unrolled, K = 5": "Unrolled, K = 5",
    "minibatch statistics": "미니배치 통계",
    "minibatch\nstatistics": "미니배치\n통계",
    "{}\nkeeps {} of {}": "{}\n{} / {} 유지",
    "{}\ndiverges": "{}\n발산",
    "K = 5, stopped": "K = 5, 기울기 차단",
    "6 updates of D": "D를 6번 갱신",
    "5\nstopped": "5\n차단",
    "6\nof D": "D\n6번",
    "gamma {}": "γ = {}",
    "no tanh": "tanh 없음",
    "{}: FID {}": "{}: FID {}",
    "FID {}": "FID {}",
    "step {}": "{}스텝",
    "step": "스텝",
    "seconds": "초",
    "seconds of training": "학습 시간(초)",
    "share of the training": "학습이 진행된 비율",
    "threshold {}": "임계값 {}",
    "class {}": "클래스 {}",
    "precision": "정밀도",
    "recall": "재현율",
    "class accuracy": "클래스 정확도",
    "logit": "로짓",
    "loss": "손실",
    "losses": "손실",
    "FID (held-out images)": "FID(따로 떼어 둔 이미지)",
    "samples of the first seed; the requested digit is below": (
        "첫 시드의 샘플(아래: 요청한 숫자)"
    ),
    "samples of the first seed; the requested digit is at the foot of each column": (
        "첫 시드의 샘플(열마다 맨 아래: 요청한 숫자)"
    ),
    "samples, first seed": "첫 시드의 샘플",
    "D's loss": "D의 손실",
    "gradient of the loss": "손실의 기울기",
    # autograd_tour
    "tanh and its derivatives": "tanh와 도함수",
    "derivatives of x cubed (lower is better)": "x³의 도함수(낮을수록 좋음)",
    "engine: lines, differences: dots": "엔진: 선, 차분: 점",
    "first": "1차",
    "second": "2차",
    "third derivative": "3차 도함수",
    "right": "맞음",
    "a wrong factor": "틀린 계수",
    "a bare array": "배열로 계산",
    "distance from differences": "차분과의 차이",
    "order {}": "{}차",
    "Derivatives by the engine, and a mistake that only the second order shows": (
        "엔진이 구한 도함수, 그리고 2차에서만 드러나는 실수"
    ),
    # gan_losses
    "measured on D's probability": "D의 확률로 잴 때",
    "measured on D's logit": "D의 로짓으로 잴 때",
    "samples of each loss, first seed (FID: lower is better)": (
        "손실별 샘플, 첫 시드(FID는 낮을수록 좋음)"
    ),
    "D's probability for a real image": "진짜 이미지에 대한 D의 확률",
    "D's logit for a real image": "진짜 이미지에 대한 D의 로짓",
    "{} of {} losses train; which one punishes a sure mistake hardest\ndepends on D's output: is "
    "it a probability or a logit?": (
        "손실 {1}개 중 {0}개로 학습에 성공했다. 자신 있게 틀렸을 때 어느 손실의 페널티가 가장 "
        "큰지는\nD의 출력을 확률로 보느냐, 로짓으로 보느냐에 달렸다"
    ),
    "real, step {}": "진짜, {}스텝",
    "fake, step {}": "가짜, {}스텝",
    "Cross-entropy drives D's grid of outputs to 1 on a real image, and to 0 on a fake": (
        "교차 엔트로피는 D의 출력(격자)을 진짜에서 1로, 가짜에서 0으로 이끈다"
    ),
    "D alone": "D만 학습",
    "D and G": "D와 G",
    "mean of D's probability": "D의 평균 확률",
    "D alone soon tells reals from fakes; with G, it stays in doubt": (
        "D만 학습하면 진짜와 가짜를 금세 가려내지만, G와 함께 학습하면 확신하지 못한다"
    ),
    # gradient_penalty
    "{}: the game ends {} away": "{}: 균형점에서 {} 떨어진 곳에서 끝난다",
    "with R1": "R1 있음",
    "digits: the slope of D at real images": "숫자 이미지: 진짜에서 D의 기울기",
    "D still tells reals from fakes": "그래도 D는 진짜와 가짜를 가려낸다",
    "theta, the number that G generates": "θ(G가 만드는 수)",
    "theta, the number of G": "θ(G가 만드는 수)",
    "psi, D's slope": "ψ(D의 기울기)",
    "start": "시작",
    "solution": "균형점",
    "mean length of D's gradient": "D의 기울기 길이의 평균",
    "share of images that D tells right": "D의 정확도",
    "R1 turns the circle into a spiral, and keeps D flat at the digits": (
        "R1은 원 궤도를 나선으로 바꾸고, 숫자 이미지 근처에서 D를 완만하게 한다"
    ),
    # conditional
    "D's logit of one real 7 (first seed)": "진짜 7 하나에 대한 D의 로짓(첫 시드)",
    "the label that D is given": "D에 알려 준 라벨",
    "Is it a real 7? D asks for the class, not only for the image": (
        "진짜 7인가? D는 이미지뿐 아니라 클래스도 따진다"
    ),
    "as requested (higher is better)": "요청대로 그린 비율(높을수록 좋음)",
    "variety (higher is better)": "다양성(높을수록 좋음)",
    "The best of six ways to give the class is {} (FID {})": (
        "클래스를 알려 주는 여섯 가지 방법 가운데 가장 좋은 것: {}(FID {})"
    ),
    # progressive
    "a walk from left to right: constructed (above), and by trained networks (below)": (
        "왼쪽에서 오른쪽으로 보간: 인공 예(위), 학습한 신경망(아래)"
    ),
    "how far features of {} follow the digit": "{} 특징이 숫자를 따라가는 정도",
    "teeth move (reads {})": "치아도 움직임(측정값 {})",
    "teeth stay (reads {})": "치아는 그대로(측정값 {})",
    "constructed: teeth move": "인공 예: 치아도 움직임",
    "constructed: teeth stay": "인공 예: 치아는 그대로",
    "At {}, features follow {} of the digit's movement with growing,\nand {} without": (
        "{}에서 특징이 숫자의 움직임을 따라가는 정도:\n점진적 성장 {}, 처음부터 전체 해상도 {}"
    ),
    "after equally many steps (lower is better)": "스텝 수가 같을 때(낮을수록 좋음)",
    "after equally many seconds (lower is better)": "시간이 같을 때(낮을수록 좋음)",
    "mark": "목표",
    "Growing takes {} s to an FID of {}, full size at once {} s": (
        "점진적 성장은 {}초 만에 FID {}에 도달하고, 처음부터 전체 해상도로는 {}초가 걸린다"
    ),
    # biggan
    "quality for variety (higher is better)": "다양성을 내주고 얻는 품질(높을수록 좋음)",
    "threshold 1: the ends of the bell curve are cut": "임계값 1: 종 모양 곡선의 양 끝을 자른다",
    "the same latents, truncated": "같은 잠재 벡터에 truncation을 적용",
    "the class in batch-norm, and beside z; first seed": (
        "클래스를 배치 정규화로, 또는 z 옆에(첫 시드)"
    ),
    "truncation threshold": "truncation 임계값",
    "an entry of z": "z의 성분 하나",
    "kept": "그대로",
    "redrawn": "다시 뽑음",
    "Truncation cuts the ends of the bell curve: the precision goes from {} to {},\n"
    "the recall from {} to {}": (
        "truncation은 종 모양 곡선의 양 끝을 자른다: 정밀도 {}에서 {}로,\n재현율 {}에서 {}로"
    ),
    "which rate? (seed 0; lower is better)": "학습률 고르기(시드 0, 낮을수록 좋음)",
    "learning curves with the best rate (lower is better)": (
        "가장 좋은 학습률의 학습 곡선(낮을수록 좋음)"
    ),
    "learning rate, relative to the recipe's": "학습률(레시피 대비)",
    "batches of {}": "배치 {}",
    "batches of {}, {} channels": "배치 {}, 채널 {}개",
    "After equally many images: which batch size, and how many channels?": (
        "학습한 이미지 수가 같을 때: 배치 크기와 채널 수는 어느 쪽이 나은가?"
    ),
    # stylegan
    "data, with a hole": "데이터(빈 곳이 있다)",
    "{}: a line explains {}": "{}: 선형 함수의 설명력 {}",
    "attribute {}": "속성 {}",
    "The data have a hole; a line explains {} of the attributes in Z, a round cloud, and {} in W\n"
    "(lines: where an attribute is equal)": (
        "데이터에는 빈 곳이 있다. 선형 함수의 설명력은 둥근 구름인 Z에서 {}, W에서 {}\n"
        "(선: 속성이 같은 곳)"
    ),
    "path length (lower is better)": "경로 길이(낮을수록 좋음)",
    "separability (lower is better)": "선형 분리도(낮을수록 잘 분리됨)",
    "samples of the first seed, and what noise does": "첫 시드의 샘플, 그리고 노이즈의 역할",
    "mixed styles": "섞은 스타일",
    "mapping of 2 layers": "매핑 네트워크 2층",
    "none (W: z and class)": "매핑 네트워크 없음(W: z와 클래스)",
    "fixed noise": "고정된 노이즈",
    "no noise": "노이즈 없음",
    "moved by noise": "노이즈가 바꾸는 정도",
    "images": "이미지",
    "others": "다른 이미지",
    "coarse styles of the others,\nfine ones of the images": (
        "다른 이미지의 굵은 스타일,\n이미지의 세밀한 스타일"
    ),
    "Digits: is W smoother and better separable than Z?": (
        "숫자 이미지: W는 Z보다 매끄럽고 잘 분리되는가?"
    ),
    "higher is better": "높을수록 좋음",
    "psi (truncation in W)": "psi(W에서의 truncation)",
    "Truncated in W, from psi = 1 to 0.5: the precision goes from {} to {},\n"
    "the recall from {} to {}": (
        "W에서의 truncation(psi 1에서 0.5로): 정밀도 {}에서 {}로,\n재현율 {}에서 {}로"
    ),
    # stylegan2
    "noise, bias, lrelu": "노이즈, 편향, lrelu",
    "- mean": "- 평균",
    "/ deviation": "/ 표준편차",
    "x scale(w)": "× scale(w)",
    "+ shift(w)": "+ shift(w)",
    "3x3, weights\nx scale(w)\n/ their norm": "3x3, 가중치\n× scale(w)\n/ 가중치의 노름",
    "(b),\ndeviation alone": "(b),\n표준편차만",
    "(b),\nnoise behind": "(b),\n노이즈를 뒤로",
    "(b), deviation alone": "(b), 표준편차만",
    "(b), noise behind": "(b), 노이즈를 뒤로",
    "(d), penalties always": "(d), 페널티를 매번",
    "From AdaIN to demodulation: what a layer does, and its digits": (
        "AdaIN에서 디모듈레이션까지: 층이 하는 일과 생성된 숫자 이미지"
    ),
    "constructed: what is left of a map's strength": "인공 예: 특징 맵의 세기가 남는 정도",
    "trained: the strongest spot of each layer": "학습한 신경망: 층마다 가장 강한 얼룩의 세기",
    "by steps (lower is better)": "스텝에 따라(낮을수록 좋음)",
    "lazy penalties, by time (lower is better)": (
        "게으른 정규화(lazy regularization), 시간에 따라(낮을수록 좋음)"
    ),
    "strength of the digit in front of the layer": "층 앞에서 숫자의 세기",
    "strength behind it (relative)": "층 뒤에서의 세기(상대값)",
    "{}, no spot": "{}, 얼룩 없음",
    "{}, with spot": "{}, 얼룩 있음",
    "demodulation": "디모듈레이션",
    "peak / mean deviation": "최대 편차 / 평균 편차",
    "(real digits)": "(진짜 숫자)",
    "A spot smuggles strength past AdaIN; the strongest one of a trained network is\n"
    "{} with AdaIN, {} with demodulation, and {} in real digits": (
        "강한 얼룩이 하나 있으면 세기가 AdaIN을 지나도 살아남는다.\n학습한 신경망의 가장 강한 "
        "얼룩: AdaIN {}, 디모듈레이션 {}, 진짜 숫자 {}"
    ),
    # diffaugment
    "500 images: does it leak? (lower is better)": (
        "이미지 500장: 증강된 모습이 샘플에 나타나는가?(낮을수록 좋음)"
    ),
    "variety of the samples (1: that of reals)": "샘플의 다양성(1: 진짜와 같음)",
    "share that look augmented": "증강된 것처럼 보이는 비율",
    "variety within classes": "클래스 안의 다양성",
    "none, {},\n{}": "없음, {},\n{}",
    "both, {},\n{}": "모두, {},\n{}",
    "none,\n100 images": "없음,\n100장",
    "both,\n100 images": "모두,\n100장",
    "Augmenting only the reals leaks into {} of the samples, augmenting both into {}": (
        "진짜만 증강하면 샘플의 {}에 증강된 모습이 나타나고, 진짜와 가짜를 모두 증강하면 {}에 "
        "나타난다"
    ),
    # ada
    "quality (lower is better)": "품질(낮을수록 좋음)",
    "{} images, as training goes on (lower is better)": (
        "이미지 {}장, 학습이 진행될 때(낮을수록 좋음)"
    ),
    "without augmentation, {} images: does D memorise them?": (
        "증강하지 않을 때, 이미지 {}장: D가 외우는가?"
    ),
    "ADA adapts p ({} images)": "ADA가 p를 조절한다(이미지 {}장)",
    "{} images: samples of the first seed; the requested digit is below": (
        "이미지 {}장: 첫 시드의 샘플(아래: 요청한 숫자)"
    ),
    "training images": "학습 이미지",
    "the training images": "학습 이미지 그대로",
    "held-out images": "따로 떼어 둔 이미지",
    "mean of D's logits": "D의 로짓 평균",
    "p and r_t": "p와 r_t",
    "target of r_t": "r_t의 목표",
    "With {} images, the FID is {} with shifts, {} with ADA,\nand {} without augmentation": (
        "이미지가 {}장일 때의 FID:\n평행 이동 {}, ADA {}, 증강 없음 {}"
    ),
    "D sees its images rotated by 0, 90, 180 or 270 degrees; samples of the first seed": (
        "D는 0, 90, 180, 270도로 회전한 이미지를 본다(첫 시드의 샘플)"
    ),
    "p = 1: {} upright": "항상: 똑바로 선 비율 {}",
    "p = .6: {} upright": "p = 0.6: 똑바로 선 비율 {}",
    "an unknown share": "알 수 없음",
    "never: {} upright": "회전 없음: 똑바로 선 비율 {}",
    "If rotations are always applied, {} of the samples are upright;\nwith p = 0.6, {} are": (
        "항상 회전시키면 샘플의 {}가 똑바로 서 있고,\np = 0.6이면 {}가 똑바로 서 있다"
    ),
    # speed
    "one convolution (more is faster)": "합성곱 하나(클수록 빠름)",
    "training steps (lower is faster)": "학습 스텝(낮을수록 빠름)",
    "a matrix product, 1 core": "행렬 곱, 코어 하나",
    "Python loops:\n{}": "Python 반복문:\n{}",
    "columns, one product:\n{}": "im2col, 곱 한 번:\n{}",
    "columns by the image:\n{}": "이미지마다 im2col:\n{}",
    "tinygan, 1 thread:\n{}": "tinygan, 스레드 1개:\n{}",
    "tinygan, {} threads:\n{}": "tinygan, 스레드 {}개:\n{}",
    "milliseconds": "밀리초",
    "milliseconds (above: time ratio)": "밀리초(위: 시간의 비)",
    "A convolution in NumPy: {} times as fast as loops, {} times as fast as im2col, on one "
    "thread": "NumPy 합성곱: 스레드 하나로 반복문보다 {}배, im2col보다 {}배 빠르다",
    # game2d
    "{}: arrows of G": "{}: G의 화살표",
    "mean length of the arrows": "화살표의 평균 길이",
    "updates of D, while G waits": "G가 기다리는 동안 D의 갱신 횟수",
    "Against this D, the arrows of both losses are about as long": (
        "이 D에 대해서는 두 손실의 화살표 길이가 비슷하다"
    ),
    "Against a D that is sure, the saturating loss makes the arrows {} times shorter": (
        "D가 확신하면, 포화하는 손실의 화살표는 {}분의 1로 짧아진다"
    ),
    "The plain game keeps {} of {} modes; {} of {} cures keep all": (
        "기본 게임은 모드 {1}개 중 {0}개를 유지하고, 처방 {3}가지 중 {2}가지는 모두 유지한다"
    ),
    "modes kept, of 8 (higher is better)": "유지한 모드, 8개 중(높을수록 좋음)",
    "good samples (higher is better)": "좋은 샘플의 비율(높을수록 좋음)",
    'The game with the most good samples, "{}", keeps {} modes; others keep {}': (
        "좋은 샘플이 가장 많은 게임({})은 모드 {}개를 유지하고, 다른 게임은 {}개까지 유지한다"
    ),
    'The game with the most good samples, "{}", keeps {} modes': (
        "좋은 샘플이 가장 많은 게임({})은 모드 {}개를 유지한다"
    ),
    "the optimal D": "최적의 D",
    "the trained D, after {} updates": "학습한 D, {}번 갱신한 뒤",
    "divergence and bound, in nats": "발산과 하한(나트)",
    "dashed: divergence (JSD)": "점선: 발산(JSD)",
    "log 2 - loss / 2 of D": "log 2 - (D의 손실) / 2",
    "A D that learns alone finds {} of the divergence": (
        "D만 학습시키면 D의 손실에서 구한 하한이 발산(JSD)의 {}에 이른다"
    ),
    # how_training_dies
    "D wins": "D의 완승",
    "D sleeps": "잠든 D",
    "no leash": "고삐 풀린 비평자",
    "too fast": "너무 큰 학습률",
    "by heart": "통째로 외운 D",
    "{}, cured": "{}, 처방 뒤",
    "{}: length of G's gradient": "{}: G의 기울기 길이",
    "{}: D's accuracy": "{}: D의 정확도",
    "{}: D's mean output on reals": "{}: 진짜에 대한 D의 평균 출력",
    "{}: D's loss": "{}: D의 손실",
    "{}: D's mean logit of held-out images": "{}: 따로 떼어 둔 이미지의 평균 로짓",
    "ill": "문제 있는 학습",
    "cured by -log D, R1, equal rates": "처방: -log D, R1, 같은 학습률",
    "cured by a rate like G's": "처방: G와 같은 학습률",
    "cured by a penalty, a fifth of the rate": "처방: 페널티, 학습률 5분의 1",
    "cured by a tenth of the rates": "처방: 학습률을 10분의 1로",
    "cured by ADA": "처방: ADA",
    "{}: failed": "{}: 실패",
    "How training dies: five illnesses, of which {} are cured": (
        "학습은 이렇게 무너진다: 다섯 가지 병과 처방, 그중 {}가지가 낫는다"
    ),
    # infogan
    "along the code for slant (|r| = {})": "기울어진 정도의 코드를 따라(|r| = {})",
    "along the code for width (|r| = {})": "글자 폭의 코드를 따라(|r| = {})",
    "Q's answers, first seed: {} right (k-means: {})": "Q의 답(첫 시드): {} 맞음(k-평균: {})",
    "the losses of the codes (lower is better)": "코드의 손실(낮을수록 좋음)",
    "the code, from {} to {}": "코드, {}에서 {}까지",
    "class of a test image": "테스트 이미지의 클래스",
    "class of Q's category": "Q의 범주가 뜻하는 클래스",
    "category: -log Q, nats": "범주: -log Q(나트)",
    "continuous: half the squared error": "연속 코드: 제곱 오차의 절반",
    "Without labels, the category becomes the digit's class in {} of the test images\n"
    "(median of the seeds)": (
        "라벨 없이도 범주 코드가 테스트 이미지의 {}에서 숫자의 클래스와 일치한다(시드의 중앙값)"
    ),
    # unrolled
    "samples of the first seed over time": "시간에 따른 첫 시드의 샘플",
    "real points": "진짜 점",
    "G keeps {} of {} modes without looking ahead, and {} if it looks 5 updates of D ahead": (
        "G는 모드 {1}개 중, 앞을 내다보지 않으면 {0}개, D의 갱신을 5번 내다보면 {2}개를 유지한다"
    ),
    "the game of two numbers": "Dirac-GAN",
    "the ring: modes (higher is better)": "원: 모드(높을수록 좋음)",
    "distance from the data (lower is better)": "데이터와의 거리(낮을수록 좋음)",
    "what it costs (lower is better)": "비용(낮을수록 좋음)",
    "modes found": "찾은 모드",
    "energy distance": "에너지 거리",
    "updates of D that G looks ahead": "G가 내다보는 D의 갱신 횟수",
    "Looking ahead: the game of two numbers, and the ring (in the same colours)": (
        "앞을 내다보기: Dirac-GAN과 원(표시는 같음)"
    ),
    # r3gan
    "gamma at first (R1 and R2)": "γ의 시작값(R1과 R2)",
    "diverged": "발산",
    "twice the best": "가장 좋은 값의 두 배",
    "D's loss, without the penalties": "D의 손실(페널티 제외)",
    "Of {} weights of the penalties, {} work ({})": (
        "페널티 가중치 {}개 가운데 {}개로 학습된다({})"
    ),
}
PATTERNS = [
    (re.compile(re.escape(english).replace(r"\{\}", "(.+?)"), re.DOTALL), korean)
    for english, korean in sorted(PHRASES.items(), key=lambda pair: -len(pair[0]))
    if "{}" in english
]


def translate(text):
    """Return a figure's text in Korean. Raises KeyError if there is no translation."""
    if text in PHRASES:
        return PHRASES[text]
    if SAME.fullmatch(text):
        return re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)  # 0.01, not .01
    for pattern, korean in PATTERNS:
        if match := pattern.fullmatch(text):
            try:
                return korean.format(*map(translate, match.groups()))
            except KeyError:
                continue  # another pattern may split the text otherwise
    raise KeyError(text)


# %%
def make_font(source):
    """Write the subset of a font that has the Hangul of the translations."""
    from fontTools import subset

    options = subset.Options(hinting=False)
    font, subsetter = subset.load_font(source, options), subset.Subsetter(options)
    letters = {letter for korean in PHRASES.values() for letter in korean if ord(letter) > 127}
    subsetter.populate(text="".join(sorted(letters)))
    subsetter.subset(font)
    for record in font["name"].names:  # the names of the font are reserved
        if record.nameID in (1, 3, 4, 6, 16):
            record.string = "TinyganHangul"
    is_bold = font["OS/2"].usWeightClass > 500
    FONTS.mkdir(exist_ok=True)
    font.save(FONTS / f"TinyganHangul{'Bold' * is_bold}.ttf")


def draw(name):
    """Run a demo's script, with its figures in Korean."""
    sys.argv = [str(DEMOS / f"{name}.py"), "--full"]
    runpy.run_path(sys.argv[0])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--font", metavar="FILE.ttf")
    args = parser.parse_args()
    if args.font:
        return make_font(args.font)
    for font in FONTS.glob("*.ttf"):
        font_manager.fontManager.addfont(font)
    matplotlib.rcParams["font.family"] = ["DejaVu Sans", "TinyganHangul"]
    Study.translate, Study.suffix = staticmethod(translate), "-ko"
    import readme  # which imports this file

    for name in args.names or (*readme.LECTURE, *readme.BEYOND):
        if "finding" in result_files.read_json(DEMOS / "results" / f"{name}.json"):
            draw(name)


if __name__ == "__main__":
    main()
