"""The demos' results in Korean, for README.ko.md (readme.py). The sentences are built from the
numbers and labels in demos/results/."""

# %%
TRANSLATED = {
    "without": "R1 없음",
    "R1, gamma .2": "R1(γ = .2)",
    "R1, gamma 2": "R1(γ = 2)",
    "p = 1": "항상(p = 1)",
    "p = .6": "가끔(p = .6)",
    "never": "회전 없음",
    "none": "없음",
    "concatenation": "이어 붙이기",
    "auxiliary classifier": "보조 분류기",
    "projection": "프로젝션",
    "conditional batch-norm": "조건부 배치 정규화",
    "8 layers": "8층",
    "both": "진짜와 가짜 모두",
    "reals only": "진짜만",
    "D's step only": "D의 스텝에서만",
    "(b) in detail": "(b) 풀어 쓴 AdaIN",
    "(c) deviation": "(c) 표준편차만",
    "(d) demodulated": "(d) 디모듈레이션",
}


def listed(numbers, form="{:.1f}"):
    return ", ".join(
        f"{TRANSLATED.get(name, name)} {form.format(number)}" for name, number in numbers.items()
    )


def verdicts(holds):
    """Return a line of HTML for each claim that says whether it holds. holds: {claim: bool}."""
    return "".join(
        f" <br>{CLAIMS[claim]}: {'확인됨' if it_does else '이 규모에서는 확인되지 않음'}."
        for claim, it_does in holds.items()
    )


CLAIMS = {
    "all losses train": "모든 손실로 학습된다",
    "R1 keeps D flat": "R1은 입력에 대한 D의 기울기를 작게 유지한다",
    "R1 makes better digits": "R1을 쓰면 숫자 이미지가 더 좋아진다",
    "the auxiliary classifier loses variety": "보조 분류기는 다양성을 희생한다",
    "all four ways generate the requested digit": "네 방법 모두 요청한 숫자를 그린다",
    "growing is faster": "점진적으로 키우는 쪽이 빠르다",
    "growing makes features stick to places": "점진적으로 키우면 특징이 화면의 위치에 고정된다",
    "the class belongs in batch-norm": "클래스는 배치 정규화로 알려 주는 편이 낫다",
    "larger batches help after the same number of steps": (
        "스텝 수가 같으면 배치가 클수록 좋다(채널 수와 상관없이)"
    ),
    "larger batches help after the same number of images": (
        "이미지 수가 같으면 배치가 클수록 좋다(채널 수와 상관없이)"
    ),
    "more channels help": "채널이 많을수록 좋다(모든 배치 크기에서)",
    "truncation trades variety for quality": "절단은 다양성을 내주고 품질을 얻는다",
    "W has shorter paths": "Z보다 W에서 경로가 더 짧다",
    "W has better separability": "Z보다 W에서 속성이 더 잘 분리된다",
    "w follows the class better than z": "w가 z보다 클래스를 더 잘 따른다",
    "AdaIN has a droplet": "물방울 아티팩트(droplet)가 생긴다",
    "the redesign has fewer spots": "재설계로 얼룩이 줄어든다",
    "demodulation gives better digits": "디모듈레이션을 쓰면 숫자 이미지가 더 좋아진다",
    "lazy penalties cost little": "페널티를 가끔만 계산해도 손해가 적다",
    "augmenting only the reals leaks": "진짜만 증강하면 증강이 생성 이미지에 새어 나온다",
    "augmenting only in D's step is worse": (
        "D의 스텝에서만 증강하면 D와 G의 스텝 모두에서 증강할 때보다 나쁘다"
    ),
    "rotations that are always applied leak": "항상 회전시키면 회전이 생성 이미지에 새어 나온다",
    "rotations with p = .6 do not leak": "p = .6으로 회전시키면 새어 나오지 않는다",
    "augmentation helps with 100 images": "이미지가 100장일 때 증강이 도움이 된다",
    "without looking ahead, G does not cover the ring": "앞을 보지 않는 G는 8개를 다 지키지 못한다",
    "with K = 5 and with K = 10, it covers the ring": "K = 5와 K = 10이면 8개를 다 지킨다",
    "on the ring, it is the gradient through the updates that matters": (
        "원 위의 정규분포에서 효과는 D의 갱신을 거치는 기울기에서 온다"
    ),
    "on probabilities, cross-entropy punishes confident mistakes hardest": (
        "확률로 보면 확신에 찬 실수를 교차 엔트로피가 가장 크게 벌한다"
    ),
    "a wide range of gamma works": "γ의 넓은 범위에서 학습된다",
    "without the penalties, training fails": "벌점이 없으면 학습에 실패한다",
    "the penalties' gradients are of second order": "벌점의 기울기는 2차 미분이다",
    "tanh helps": "G의 끝에 tanh를 두면 더 잘 학습된다",
    "the category is the class, with an error of at most 5%": (
        "범주 코드가 숫자의 클래스다(오류 5% 이하)"
    ),
    "the category finds the class better than k-means": (
        "범주 코드가 k-평균보다 클래스를 더 잘 찾는다"
    ),
    "one code is slant, the other width": "연속 코드 하나는 기울기, 다른 하나는 너비다",
    "on logits, L2 punishes confident mistakes hardest": "로짓으로 보면 L2가 가장 크게 벌한다",
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


def scaled(fid):
    """Return the text on the effect of larger batches at the larger width.

    fid: {"steps" or "images": {"BATCH x WIDTH": mean FID}}, of which the smallest and the largest
    batch are compared.
    """
    width = list(fid["steps"])[-1].split(" x ")[1]
    small, *_, large = [key for key in fid["steps"] if key.endswith(f" x {width}")]
    return (
        f"채널 {width}개에서 배치를 {small.split()[0]}에서 {large.split()[0]}로 키우면 스텝 수가 "
        f"같을 때 {fid['steps'][small]:.1f} → "
        f"{fid['steps'][large]:.1f}, 이미지 수가 같을 때 {fid['images'][small]:.1f} → "
        f"{fid['images'][large]:.1f}이며,"
    )


# %% A sentence for each demo: its results r -> text
KOREAN = {
    "autograd_tour": lambda r: (
        "엔진이 구한 tanh의 1차부터 3차까지의 도함수는 손으로 구한 도함수와 "
        f"{max(a for a, _ in r['apart'].values()):.0e}, 유한 차분과 "
        f"{max(b for _, b in r['apart'].values()):.0e} 이내로 일치하고, 2차에서만 틀리는(오차 "
        f"{r['errors']['a bare array'][1]:.1f}) x³의 "
        "도함수는 check_grads가 짚어 냅니다."
    ),
    "gan_losses": lambda r: (
        f"FID는 손실에 따라 {min(r['fid'].values()):.1f}에서 {max(r['fid'].values()):.1f}"
        f"이고(학습하지 않은 G: {r['untrained']:.0f}), D가 진짜를 "
        "가짜로 확신할 때 D를 미는 힘(손실의 기울기)은 확률 .01에서 교차 엔트로피 "
        f"{r['push_at_p']['cross-entropy']:.0f}, L2 "
        f"{r['push_at_p']['L2']:.2f}, 로짓 -8에서 교차 엔트로피 "
        f"{r['push_at_score']['cross-entropy']:.2f}, L2 "
        f"{r['push_at_score']['L2 on scores']:.0f}입니다."
    ),
    "gradient_penalty": lambda r: (
        f"진짜 숫자 이미지에서 입력에 대한 D의 기울기는 {listed(r['slope'], '{:.2f}')}이고, FID는 "
        "차례로 "
        f"{', '.join(f'{value:.1f}' for value in r['fid'].values())}입니다."
    ),
    "unrolled": lambda r: (
        "원 위의 정규분포 8개 가운데 G가 끝까지 지키는 개수는 "
        f"{listed({k: sum(v) / len(v) for k, v in r['kept'].items()}, '{:.1f}')}이고, 1.41에서 "
        "시작하는 두 수의 게임은 해에서 차례로 "
        f"{', '.join(f'{d:.2f}' for d in r['distance'].values())} 떨어진 곳에서 끝납니다."
    ),
    "conditional": lambda r: (
        f"요청한 숫자로 인식되는 비율은 {listed(r['class_accuracy'], '{:.0%}')}이고, "
        "재현율(다양성)은 차례로 "
        f"{', '.join(f'{value:.2f}' for value in r['recall'].values())}입니다"
        + f"(보조 분류기는 {len(r['seeds'])}번 중 {r['fooled']}번 학습에 실패)" * bool(r["fooled"])
        + "."
    ),
    "progressive": lambda r: (
        f"FID {r['mark']:.1f}까지 점진적 성장은 {r['seconds']['growing']:.0f}초, 처음부터 전체 "
        f"크기로는 {r['seconds']['full size at once']:.0f}초가 "
        "걸리고, 16x16 특징은 숫자의 움직임을 점진적 성장에서 "
        f"{r['following']['16']['growing']:.2f}, 처음부터 전체 크기에서 "
        f"{r['following']['16']['full size at once']:.2f}만큼 따라갑니다(1이면 완전히)."
    ),
    "biggan": lambda r: (
        f"클래스를 배치 정규화로 알려 주면 FID {r['fid']['batch-norm']:.1f}, 이어 붙이면 "
        f"{r['fid']['concatenation']:.1f}"
        + f"({len(r['seeds'])}번 중 {r['collapsed']}번 붕괴)" * bool(r["collapsed"])
        + "이고, "
        + scaled(r["scale"])
        + f" 절단(truncation) 임계값을 {r['thresholds'][-1]:g}에서 {r['thresholds'][0]:g}로 낮추면 "
        f"정밀도는 {r['truncation']['precision'][-1]:.2f} → {r['truncation']['precision'][0]:.2f}, "
        "재현율은 "
        f"{r['truncation']['recall'][-1]:.2f} → {r['truncation']['recall'][0]:.2f}입니다."
    ),
    "stylegan": lambda r: (
        f"매핑이 8층인 G에서 경로 길이는 Z {r['path_length']['z']['8 layers']:.1f}, W "
        f"{r['path_length']['w']['8 layers']:.1f}, 분리도는 Z "
        f"{r['separability']['z']['8 layers']:.2f}, W {r['separability']['w']['8 layers']:.2f}"
        "이고(둘 다 작을수록 좋음), 매핑 층수에 따른 클래스 "
        f"정확도는 {listed(r['class_accuracy'], '{:.1%}')}입니다."
    ),
    "stylegan2": lambda r: (
        "가장 강한 얼룩(층 안의 최대 편차 ÷ 평균 편차)은 "
        f"{listed({k: v for k, v in r['spots'].items() if 'always' not in k})}이고, FID는 차례로 "
        f"{', '.join(f'{value:.1f}' for key, value in r['fid'].items() if 'always' not in key)}"
        "입니다."
    ),
    "diffaugment": lambda r: (
        "생성 이미지 중 분류기가 증강된 것으로 본 비율은 증강 대상에 따라 "
        f"{listed(r['augmented'], '{:.0%}')}이고, FID는 차례로 "
        f"{', '.join(f'{value:.1f}' for value in r['fid'].values())}입니다."
    ),
    "ada": lambda r: (
        f"학습 이미지가 {r['sizes'][0]}장일 때 FID는 증강 없음 {r['fid']['none'][0]:.1f}, "
        "DiffAugment의 평행 이동 "
        f"{r['fid']['DiffAugment (shifts)'][0]:.1f}, ADA {r['fid']['ADA'][0]:.1f}이고, 90도 단위 "
        "회전으로 증강할 때 똑바로 서 있지 않은 생성 이미지는 "
        f"{listed(r['turned'], '{:.0%}')}입니다."
    ),
    "speed": lambda r: (
        f"합성곱 하나는 {max(r['gflops'].values()):.0f} GFLOP/s로 im2col 행렬 곱 한 번보다 "
        f"{max(r['gflops'].values()) / r['gflops']['columns, one product']:.1f}배 빠릅니다"
        + (
            "."
            if not r["ratios"]
            else f"(학습 한 스텝에는 PyTorch의 {min(r['ratios']):.2f}배에서 "
            f"{max(r['ratios']):.2f}배의 시간이 걸립니다)."
        )
    ),
    "r3gan": lambda r: (
        "두 벌점의 γ를 바꾸어 가며 학습하면 FID는 차례로 "
        f"{', '.join(f'{value:.1f}' for value in r['fid'].values())}이고(처음은 벌점이 없을 때), "
        f"R1과 R2가 있는 스텝은 없는 스텝의 {r['ratios']['R1 and R2']:.1f}배가 걸립니다."
    ),
    "game2d": lambda r: (
        "D가 확신할 때 포화하지 않는 손실이 G에 주는 기울기는 포화하는 손실의 "
        f"{r['ratio']:,.0f}배이고, 원 위의 정규분포 8개 가운데 G가 지키는 개수는 "
        f"{listed({k: sum(filter(None, v)) / len(v) for k, v in r['kept'].items()}, '{:.1f}')}"
        f"이며, 혼자 배운 D는 젠슨-섀넌 발산의 {r['share']:.0%}를 찾아냅니다."
    ),
    "infogan": lambda r: (
        f"라벨 없이 Q는 테스트 이미지의 {r['accuracy']:.1%}에서 클래스를 찾고(픽셀의 k-평균: "
        f"{r['k_means']:.1%}, 논문: 95%), 생성 이미지의 {r['samples']:.1%}가 범주 코드에 맞는 "
        f"숫자이며, 연속 코드와 기울기의 상관은 {r['slant']:.2f}, 너비와의 상관은 "
        f"{r['width']:.2f}입니다."
    ),
}
