"""Claims, verdicts and recipes in Korean, for the guides (readme.py, lecture.py)."""

# %%
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
VERDICTS = {
    "holds": "확인됨",
    "reversed": "반대 결과",
    "undecided": "이 규모에서는 판단할 수 없음",
    "tiny: not evidence": "아주 작은 실험이라 근거가 되지 않음",
    "not measured yet": "아직 측정하지 않음",
}

CLAIMS = {
    "all losses train": "어떤 손실을 써도 학습된다",
    "cross-entropy generates better digits": "교차 엔트로피를 쓰면 숫자 이미지가 더 좋아진다",
    "on probabilities, cross-entropy punishes confident mistakes hardest": (
        "확률로 보면, 자신 있게 틀렸을 때 교차 엔트로피의 페널티가 가장 크다"
    ),
    "on logits, cross-entropy punishes confident mistakes hardest": (
        "로짓으로 보면, 자신 있게 틀렸을 때 교차 엔트로피의 페널티가 가장 크다"
    ),
    "with R1, the game of two numbers converges": "R1을 쓰면 Dirac-GAN이 수렴한다",
    "R1 keeps D flat": "R1은 입력에 대한 D의 기울기를 작게 유지한다",
    "R1 makes better digits": "R1을 쓰면 숫자 이미지가 더 좋아진다",
    "in G, conditional batch-norm is better than concatenation": (
        "G에 클래스를 알려 줄 때는 concat보다 조건부 배치 정규화가 낫다"
    ),
    "in D, a projection is better than concatenation": (
        "D에 클래스를 알려 줄 때는 concat보다 프로젝션이 낫다"
    ),
    "the auxiliary classifier loses variety": "보조 분류기를 쓰면 다양성이 줄어든다",
    "growing is faster": "점진적으로 키우면 더 빨리 좋아진다",
    "growing makes features stick to places": (
        "점진적으로 키우면 특징이 이미지의 같은 자리에 고정된다"
    ),
    "the class belongs in batch-norm": "클래스는 배치 정규화로 알려 주는 편이 낫다",
    "larger batches help after the same number of images": (
        "학습한 이미지 수가 같으면 배치가 클수록 좋다"
    ),
    "more channels help": "채널이 많을수록 좋다",
    "truncation trades variety for quality": "truncation을 쓰면 다양성이 줄고 품질이 오른다",
    "a mapping keeps points out of the hole": (
        "매핑 네트워크가 있으면 데이터의 빈 곳에 점이 덜 생긴다"
    ),
    "W is straighter than Z": "Z보다 W에서 속성을 선형 함수로 더 잘 설명할 수 있다",
    "W has shorter paths": "Z보다 W에서 경로가 더 짧다",
    "W has better separability": "Z보다 W에서 속성이 더 잘 분리된다",
    "a mapping makes paths shorter": "매핑 네트워크가 있으면 경로가 더 짧아진다",
    "w follows the class better than z": "z를 바로 쓰는 G보다 w를 쓰는 G가 클래스를 더 잘 따른다",
    "a spot smuggles strength past AdaIN, and not past demodulation": (
        "강한 얼룩이 하나 있으면 특징 맵의 세기가 AdaIN을 지나도 살아남는다(디모듈레이션에서는 "
        "얼룩이 없어도 살아남는다)"
    ),
    "AdaIN has droplets at 32x32": "32x32에서 AdaIN에 물방울 얼룩(droplet)이 생긴다",
    "demodulation gives better digits": "디모듈레이션을 쓰면 숫자 이미지가 더 좋아진다",
    "the deviation alone is good enough": "표준편차만으로 정규화해도 충분하다",
    "noise belongs behind the normalisation": "노이즈는 정규화 뒤에 넣는 편이 낫다",
    "lazy penalties cost little": "페널티를 네 번에 한 번만 계산해도 손해가 적다",
    "augmenting only the reals leaks": ("진짜만 증강하면 증강된 모습이 샘플에도 나타난다(leak)"),
    "augmenting only in D's step is worse": (
        "D의 스텝에서만 증강하면 두 신경망의 스텝에서 모두 증강할 때보다 나쁘다"
    ),
    "augmentation helps with 500 images": "이미지가 500장일 때 증강이 도움이 된다",
    "augmentation helps with 100 images": "이미지가 100장일 때 증강이 도움이 된다",
    "rotations that are always applied leak": "항상 회전시키면 회전된 모습이 샘플에도 나타난다",
    "rotations with p = .6 do not leak": (
        "p = 0.6의 확률로 회전시키면 회전된 모습이 나타나지 않는다"
    ),
    "without looking ahead, G does not cover the ring": (
        "앞을 내다보지 않는 G는 원 위의 모드 8개를 다 유지하지 못한다"
    ),
    "with K = 5 and with K = 10, it covers the ring": (
        "K = 5일 때와 K = 10일 때 모두 8개를 유지한다"
    ),
    "on the ring, it is the gradient through the updates that matters": (
        "원 위의 정규분포에서는 D의 갱신을 거쳐 오는 기울기가 효과를 낸다"
    ),
    "a wide range of gamma works": "γ를 넓은 범위에서 바꿔도 학습된다",
    "without the penalties, training fails": "페널티가 없으면 학습에 실패한다",
    "the penalties' gradients are of second order": (
        "페널티의 기울기를 구하려면 2차 미분이 필요하다"
    ),
    "tanh helps": "G의 끝에 tanh를 두면 더 잘 학습된다",
    "the category is the class, with an error of at most 5%": (
        "범주 코드가 숫자의 클래스다(오류 5% 이하)"
    ),
    "the category finds the class better than k-means": (
        "범주 코드가 k-평균보다 클래스를 더 잘 찾는다"
    ),
    "one code is slant, the other width": "연속 코드 하나는 기울어진 정도, 다른 하나는 글자 폭이다",
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
    "the saturating loss makes fewer good samples": "포화하는 손실을 쓰면 좋은 샘플이 더 적다",
    "with R1, samples move less in the end": "R1을 쓰면 학습이 끝날 무렵 샘플이 덜 움직인다",
} | {
    f"{label}: keeps more modes than the plain game": (
        f"{name} 기본 게임보다 더 많은 모드를 유지한다"
    )
    for label, name in (
        ("R1", "R1은"),
        ("WGAN-GP", "WGAN-GP는"),
        ("relativistic", "상대론적 손실은"),
        ("relativistic, R1, R2", "R1과 R2를 더한 상대론적 손실은"),
        ("unrolled, K = 5", "갱신 5번을 펼친 Unrolled GAN은"),
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
        "D가 확신할 때, 포화하는 손실은 포화하지 않는 손실보다 G에 작은 기울기를 준다"
    ),
    "a D that learns alone comes within a tenth of the divergence": (
        "D만 학습시키면 D의 손실에서 구한 하한이 실제 발산과 10% 이내로 가까워진다"
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

RECIPES = {  # the summaries of tinygan/models/
    "quick": "2분 만에 얻는 가장 좋은 숫자(기본값): DCGAN의 층, 프로젝션 판별자, R1 페널티",
    "hour": "한 시간 만에 얻는 가장 좋은 숫자: quick에 채널 두 배, 상대론적 손실, 줄어드는 학습률",
    "gan": "최초의 GAN: 다층 퍼셉트론 두 개(Goodfellow et al. 2014)",
    "dcgan": "합성곱과 배치 정규화(Radford et al. 2016)",
    "lsgan": "교차 엔트로피 대신 최소 제곱(Mao et al. 2017)",
    "wgan": "가중치를 클리핑한 비평자로 바서슈타인 거리를 추정(Arjovsky et al. 2017)",
    "wgan-gp": "클리핑 대신 비평자의 그래디언트 페널티(Gulrajani et al. 2017)",
    "sngan": "잔차 신경망, 스펙트럼 정규화, 힌지 손실(Miyato et al. 2018)",
    "cgan": "클래스를 G에는 z 옆에, D에는 x 옆에 concat(Mirza and Osindero 2014)",
    "acgan": "D가 이미지의 클래스도 맞힘(Odena et al. 2017)",
    "projection": "sngan에 조건부 배치 정규화와 프로젝션 판별자를 더함(Miyato and Koyama 2018)",
    "infogan": (
        "라벨 없이 의미를 갖게 되는 잠재 코드: D에 붙은 헤드 Q가 코드를 맞힘(Chen et al. 2016)"
    ),
    "progan": "점진적 성장: 4x4 픽셀에서 전체 크기까지(Karras et al. 2018)",
    "biggan": "모든 블록에 클래스와 z, 셀프 어텐션, truncation(Brock et al. 2019)",
    "stylegan": "z에서 모든 층의 스타일로 가는 매핑 네트워크, 노이즈, AdaIN(Karras et al. 2019)",
    "stylegan2": "가중치 디모듈레이션, 스킵 연결, 경로 길이 페널티(Karras et al. 2020b)",
    "r3gan": "상대론적 손실, R1과 R2, 정규화 층이 없는 잔차 신경망(Huang et al. 2024)",
}
