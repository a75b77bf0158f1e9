"""The demos' results in Korean, for README.ko.md (readme.py). The sentences are built from the
numbers and labels in demos/results/."""

# %%
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
TRANSLATED = {
    "without": "R1 없음",
    "R1, gamma .2": "R1(γ = 0.2)",
    "R1, gamma 2": "R1(γ = 2)",
    "p = 1": "항상(p = 1)",
    "p = .6": "일부만(p = 0.6)",
    "never": "회전 없음",
    "none": "증강 없음",
    "shifts": "평행 이동",
    "both": "진짜와 가짜 모두",
    "reals only": "진짜만",
    "D's step only": "D의 스텝에서만",
    "growing": "점진적 성장",
    "full size at once": "처음부터 전체 크기",
    "G concatenation, D concatenation": "G concat · D concat",
    "G concatenation, D classifier": "G concat · D 보조 분류기",
    "G concatenation, D projection": "G concat · D 프로젝션",
    "G batch-norm, D concatenation": "G 조건부 배치 정규화 · D concat",
    "G batch-norm, D classifier": "G 조건부 배치 정규화 · D 보조 분류기",
    "G batch-norm, D projection": "G 조건부 배치 정규화 · D 프로젝션",
    "(a)": "(a) AdaIN",
    "(b)": "(b) 정규화와 변조로 나눠 쓴 AdaIN",
    "(b), deviation alone": "(b) 표준편차만",
    "(b), noise behind": "(b) 노이즈를 정규화 뒤로",
    "(c)": "(c) 둘 다",
    "(d)": "(d) 디모듈레이션",
    "(d), penalties always": "(d) 페널티를 매번",
    "saturating": "포화하는 손실",
    "non-saturating": "포화하지 않는 손실",
    "relativistic": "상대론적 손실",
    "relativistic, R1, R2": "상대론적 손실 + R1 + R2",
    "unrolled, K = 5": "5단계 펼침",
    "minibatch statistics": "미니배치 통계",
    "K = 5, stopped": "K = 5(기울기 차단)",
    "6 updates of D": "D를 6번 갱신",
}
VERDICTS = {
    "holds": "확인됨",
    "reversed": "반대 결과",
    "undecided": "이 규모에서는 판단할 수 없음",
    "tiny: not evidence": "아주 작은 실행이라 근거가 되지 않음",
    "not measured yet": "아직 측정하지 않음",
}


def listed(numbers, form="{:.1f}"):
    return ", ".join(
        f"{TRANSLATED.get(name, name)} {form.format(number)}" for name, number in numbers.items()
    )


def median(values):
    """Return the median of the numbers that are not None; 0 if there are none."""
    shown = sorted(x for x in values if x is not None)
    return (shown[(len(shown) - 1) // 2] + shown[len(shown) // 2]) / 2 if shown else 0.0


def verdicts(claims):
    """Return a line of HTML for each claim, with its verdict. claims: {claim: {"verdict": ...}}."""
    return "".join(
        f" <br>{CLAIMS[claim]}: {VERDICTS[found['verdict']]}." for claim, found in claims.items()
    )


CLAIMS = {
    "all losses train": "어떤 손실을 써도 학습된다",
    "cross-entropy generates better digits": "교차 엔트로피를 쓰면 숫자 이미지가 더 좋아진다",
    "on probabilities, cross-entropy punishes confident mistakes hardest": (
        "확률로 보면, 자신 있게 틀렸을 때 교차 엔트로피의 페널티가 가장 크다"
    ),
    "on logits, cross-entropy punishes confident mistakes hardest": (
        "로짓으로 보아도, 자신 있게 틀렸을 때 교차 엔트로피의 페널티가 가장 크다"
    ),
    "with R1, the game of two numbers converges": "R1을 쓰면 두 수의 게임이 수렴한다",
    "R1 keeps D flat": "R1은 입력에 대한 D의 기울기를 작게 유지한다",
    "R1 makes better digits": "R1을 쓰면 숫자 이미지가 더 좋아진다",
    "in G, conditional batch-norm is better than concatenation": (
        "G에는 concat보다 조건부 배치 정규화로 클래스를 알려 주는 편이 낫다"
    ),
    "in D, a projection is better than concatenation": (
        "D에는 concat보다 프로젝션으로 클래스를 알려 주는 편이 낫다"
    ),
    "the auxiliary classifier loses variety": "보조 분류기를 쓰면 다양성이 줄어든다",
    "growing is faster": "점진적으로 키우면 더 빨리 좋아진다",
    "growing makes features stick to places": "점진적으로 키우면 특징이 화면의 한자리에 붙는다",
    "the class belongs in batch-norm": "클래스는 배치 정규화로 알려 주는 편이 낫다",
    "larger batches help after the same number of images": (
        "학습한 이미지 수가 같으면 배치가 클수록 좋다"
    ),
    "more channels help": "채널이 많을수록 좋다",
    "truncation trades variety for quality": "truncation을 쓰면 다양성이 줄고 품질이 오른다",
    "a mapping keeps points out of the hole": "매핑이 있으면 데이터의 빈 곳에 점이 덜 생긴다",
    "W is straighter than Z": "Z보다 W에서 속성이 더 곧게 펴진다",
    "W has shorter paths": "Z보다 W에서 경로가 더 짧다",
    "W has better separability": "Z보다 W에서 속성이 더 잘 분리된다",
    "a mapping makes paths shorter": "매핑이 있으면 경로가 더 짧아진다",
    "w follows the class better than z": "w를 쓰는 G가 클래스를 더 잘 따른다",
    "a spot smuggles strength past AdaIN, and not past demodulation": (
        "점 하나면 특징 맵의 세기가 AdaIN을 몰래 통과한다(디모듈레이션에서는 그럴 필요가 없다)"
    ),
    "AdaIN has droplets at 32x32": "32x32에서 AdaIN에 물방울 얼룩(droplet)이 생긴다",
    "demodulation gives better digits": "디모듈레이션을 쓰면 숫자 이미지가 더 좋아진다",
    "the deviation alone is good enough": "표준편차만으로 정규화해도 충분하다",
    "noise belongs behind the normalisation": "노이즈는 정규화 뒤에 넣는 편이 낫다",
    "lazy penalties cost little": "페널티를 네 번에 한 번만 계산해도 손해가 적다",
    "augmenting only the reals leaks": (
        "진짜만 증강하면 증강된 모습이 생성 이미지에도 나타난다(leak)"
    ),
    "augmenting only in D's step is worse": (
        "D의 스텝에서만 증강하면 두 신경망의 스텝에서 모두 증강할 때보다 나쁘다"
    ),
    "augmentation helps with 500 images": "이미지가 500장일 때 증강이 도움이 된다",
    "rotations that are always applied leak": (
        "항상 회전시키면 회전된 모습이 생성 이미지에도 나타난다"
    ),
    "rotations with p = .6 do not leak": "p = 0.6으로 회전시키면 나타나지 않는다",
    "without looking ahead, G does not cover the ring": (
        "앞을 내다보지 않는 G는 원 위의 8개를 다 지키지 못한다"
    ),
    "with K = 5 and with K = 10, it covers the ring": "K = 5와 K = 10이면 8개를 다 지킨다",
    "on the ring, it is the gradient through the updates that matters": (
        "원 위의 정규분포에서는 D의 갱신을 거쳐 오는 기울기가 효과를 낸다"
    ),
    "a wide range of gamma works": "γ의 넓은 범위에서 학습된다",
    "without the penalties, training fails": "페널티가 없으면 학습에 실패한다",
    "the penalties' gradients are of second order": "페널티의 기울기는 2차 미분이다",
    "tanh helps": "G의 끝에 tanh를 두면 더 잘 학습된다",
    "the category is the class, with an error of at most 5%": (
        "범주 코드가 숫자의 클래스다(오류 5% 이하)"
    ),
    "the category finds the class better than k-means": (
        "범주 코드가 k-평균보다 클래스를 더 잘 찾는다"
    ),
    "one code is slant, the other width": "연속 코드 하나는 기울어진 정도, 다른 하나는 너비다",
}
CLAIMS |= {
    f"{way} {'helps' if way == 'ADA' else 'help'} with {size} images": (
        f"이미지가 {size}장일 때 {name} 도움이 된다"
    )
    for way, name in (("ADA", "ADA가"), ("shifts", "DiffAugment의 평행 이동이"))
    for size in (100, 500)
} | {
    f"with {size} images, ADA costs nothing": f"이미지가 {size}장이면 ADA를 써도 손해가 없다"
    for size in ("100", "1,000", "10,000")
}
GAME = {  # the claims about games, on each set of points
    "the saturating loss makes fewer good samples": "포화하는 손실은 좋은 점을 더 적게 만든다",
    "with R1, samples move less in the end": "R1을 쓰면 학습이 끝날 무렵 점이 덜 움직인다",
} | {
    f"{label}: keeps more modes than the plain game": f"{name} 기본 게임보다 더 많은 모드를 지킨다"
    for label, name in (
        ("R1", "R1은"),
        ("WGAN-GP", "WGAN-GP는"),
        ("relativistic", "상대론적 손실은"),
        ("relativistic, R1, R2", "R1과 R2를 더한 상대론적 손실은"),
        ("unrolled, K = 5", "5단계를 펼친 GAN은"),
        ("minibatch statistics", "미니배치 통계는"),
    )
}
CLAIMS |= {
    f"{claim} ({data})": f"{korean}({name})"
    for claim, korean in GAME.items()
    for data, name in (("ring", "원"), ("grid", "격자"))
}
CLAIMS |= {
    "against a D that is sure, the saturating loss gives G less": (
        "D가 확신하면 포화하는 손실은 G에 더 작은 기울기를 준다"
    ),
    "a D that learns alone comes within a tenth of the divergence": (
        "혼자 배우는 D는 발산의 10분의 1 이내까지 다가간다"
    ),
}

ILLNESSES = {
    "D wins": "D의 완승",
    "D sleeps": "잠든 D",
    "no leash": "고삐 풀린 비평자",
    "too fast": "너무 큰 학습률",
    "by heart": "통째로 외운 D",
}
CLAIMS |= {f"{name}: the cure works": f"{ko}: 처방이 듣는다" for name, ko in ILLNESSES.items()}

# %% A sentence for each demo: its results r -> text
KOREAN = {
    "autograd_tour": lambda r: (
        "엔진이 구한 tanh의 1차부터 3차까지의 도함수는 손으로 구한 도함수와 "
        f"{max(a for a, _ in r['apart'].values()):.0e}, 유한 차분과 "
        f"{max(b for _, b in r['apart'].values()):.0e} 이내로 일치합니다. check_grads는 2차에서만 "
        f"틀리는(오차 {r['errors']['a bare array'][1]:.1f}) x³의 도함수를 찾아냅니다."
    ),
    "gan_losses": lambda r: (
        "FID는 손실에 따라 "
        f"{min(r['fid'].values()):.1f}~{max(r['fid'].values()):.1f}입니다(학습하지 "
        f"않은 G: {r['untrained']:.0f}). D가 진짜를 가짜로 확신할 때 손실의 기울기(D를 고치는 "
        "세기)는 "
        f"확률 0.01에서 교차 엔트로피 {r['push_at_p']['cross-entropy']:.0f}, L2 "
        f"{r['push_at_p']['L2']:.2f}이고, 로짓 -8에서 교차 엔트로피 "
        f"{r['push_at_score']['cross-entropy']:.2f}, L2 "
        f"{r['push_at_score']['L2 on scores']:.0f}입니다."
    ),
    "gradient_penalty": lambda r: (
        f"진짜 숫자 이미지에서 입력에 대한 D의 기울기는 {listed(r['slope'], '{:.2f}')}이고, FID는 "
        f"차례로 {', '.join(f'{value:.1f}' for value in r['fid'].values())}입니다."
    ),
    "conditional": lambda r: (
        f"요청한 숫자로 인식되는 비율은 {listed(r['class_accuracy'], '{:.0%}')}이고, "
        "재현율(다양성)은 "
        f"차례로 {', '.join(f'{value:.2f}' for value in r['recall'].values())}입니다"
        + f"(실패한 실행: {sum(r['failed'].values())}번)" * bool(sum(r["failed"].values()))
        + "."
    ),
    "progressive": lambda r: (
        f"FID {r['mark']:.1f}에 도달하는 데 {listed(r['seconds'], '{:.0f}초')}가 걸립니다. 16x16 "
        "특징은 숫자의 움직임을 "
        f"{listed(dict(list(r['following']['16'].items())[:2]), '{:.2f}')}만큼 "
        "따라갑니다(1이면 완전히)."
    ),
    "biggan": lambda r: (
        f"클래스를 배치 정규화로 알려 주면 FID가 {r['fid']['batch-norm']:.1f}, concat으로 알려 "
        "주면 "
        f"{r['fid']['concatenation']:.1f}입니다. 학습한 이미지 수가 같을 때 FID는 "
        + ", ".join(f"배치 {batch} {fid:.1f}" for batch, fid in r["scale"].items())
        + "입니다. truncation 임계값을 "
        f"{r['thresholds'][-1]:g}에서 {r['thresholds'][0]:g}로 낮추면 "
        f"정밀도는 {r['truncation']['precision'][-1]:.2f} → {r['truncation']['precision'][0]:.2f}, "
        "재현율은 "
        f"{r['truncation']['recall'][-1]:.2f} → {r['truncation']['recall'][0]:.2f}로 바뀝니다."
    ),
    "stylegan": lambda r: (
        f"같은 G에서 경로 길이는 Z {r['path_length']['z']['8 layers']:.1f}, W "
        f"{r['path_length']['w']['8 layers']:.1f}이고, 선형 분리성 점수(낮을수록 잘 분리됨)는 Z "
        f"{r['separability']['z']['8 layers']:.2f}, W "
        f"{r['separability']['w']['8 layers']:.2f}입니다. "
        f"클래스 정확도는 매핑이 8층일 때 {r['class_accuracy']['8 layers']:.1%}, 없을 때 "
        f"{r['class_accuracy']['none']:.1%}입니다."
    ),
    "stylegan2": lambda r: (
        f"FID는 {listed(r['fid'])}입니다. 세기가 4배 차이 나는 특징 맵은 AdaIN을 지나면 "
        f"{r['kept']['AdaIN, no spot']:.2f}배, 강한 점이 하나 있으면 "
        f"{r['kept']['AdaIN, with spot']:.2f}배 차이가 나고, 디모듈레이션을 지나면 점과 상관없이 "
        f"{r['kept']['demodulation, no spot']:.2f}배 차이가 납니다."
    ),
    "diffaugment": lambda r: (
        "이미지가 500장일 때 생성 이미지 가운데 분류기가 증강된 것으로 보는 비율은 "
        f"{listed(dict(list(r['augmented'].items())[:4]), '{:.0%}')}이고, FID는 차례로 "
        f"{', '.join(f'{value:.1f}' for value in list(r['fid'].values())[:4])}입니다."
    ),
    "ada": lambda r: (
        f"학습 이미지가 {r['sizes'][0]}장일 때 FID는 "
        f"{listed({k.split(',')[0]: v for k, v in list(r['fid'].items())[:3]})}입니다. 90도 단위로 "
        f"회전시키며 학습하면, 똑바로 선 생성 이미지는 {listed(r['upright'], '{:.0%}')}입니다."
    ),
    "speed": lambda r: (
        f"합성곱 하나는 스레드 하나에서 {r['gflops']['tinygan, 1 thread']:.0f} GFLOP/s로, im2col "
        "행렬 "
        "곱 한 번보다 "
        f"{r['gflops']['tinygan, 1 thread'] / r['gflops']['columns, one product']:.1f}배 빠릅니다."
        + (
            f" 학습 한 스텝에는 PyTorch의 {min(r['ratios']):.2f}~{max(r['ratios']):.2f}배의 시간이 "
            "걸립니다."
            if r["ratios"]
            else ""
        )
    ),
    "game2d": lambda r: (
        "D가 확신할 때 포화하지 않는 손실이 G에 주는 기울기는 포화하는 손실의 "
        f"{r['ratio']:,.0f}배입니다. 원 위의 정규분포 8개 가운데 G가 지키는 개수는 "
        f"{listed({k: median(v) for k, v in r['kept'].items()}, '{:.0f}')}입니다. 혼자 배운 D는 "
        f"젠슨-섀넌 발산의 {r['share']:.0%}를 찾아냅니다."
    ),
    "how_training_dies": lambda r: (
        "병든 실행과 처방한 실행의 FID는 "
        + ", ".join(
            f"{ko} {r['fid'][name]:.0f}과 {r['fid'][f'{name}, cured']:.0f}"
            for name, ko in ILLNESSES.items()
        )
        + "입니다."
    ),
    "unrolled": lambda r: (
        "원 위의 정규분포 8개 가운데 G가 끝까지 지키는 개수는 "
        f"{listed({k: median(v) for k, v in r['kept'].items()}, '{:.0f}')}입니다. 해에서 1.41 "
        "떨어진 "
        "곳에서 시작하는 두 수의 게임은 차례로 "
        f"{', '.join(f'{d:.2f}' for d in r['distance'].values())} 떨어진 곳에서 끝납니다."
    ),
    "r3gan": lambda r: (
        "두 페널티의 γ에 따른 FID는 "
        f"{', '.join(f'{value:.1f}' for value in r['fid'].values())}입니다(처음은 페널티가 없을 "
        "때, "
        "끝은 tanh가 없을 때). R1과 R2를 쓰는 스텝은 쓰지 않는 스텝보다 "
        f"{r['ratios']['R1 and R2']:.1f}배 오래 걸립니다."
    ),
    "infogan": lambda r: (
        f"라벨 없이 Q는 테스트 이미지의 {r['accuracy']:.1%}에서 클래스를 맞히고(픽셀의 k-평균: "
        f"{r['k_means']:.1%}, 논문: 95%), 생성 이미지의 {r['samples']:.1%}가 범주 코드에 맞는 "
        f"숫자입니다. 연속 코드와 기울어진 정도의 상관은 {r['slant']:.2f}, 너비와의 상관은 "
        f"{r['width']:.2f}입니다."
    ),
}
