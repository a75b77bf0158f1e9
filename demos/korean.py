"""What the demos found, in Korean, for README.ko.md (readme.py): the numbers are the demos', and so are the names of what is
compared."""

# %%
import re


def listed(numbers, form="{:.1f}"):
    return ", ".join(f"{named(name)} {form.format(number)}" for name, number in numbers.items())


def named(name):
    """What is compared, in Korean."""
    name = re.sub(r"^(\d+) x (\d+)$", r"배치 \1·채널 \2:", TRANSLATED.get(name, name))
    return re.sub(r"^tinygan, (\d+) threads?$", r"tinygan(스레드 \1개)", name)


TRANSLATED = {
    "cross-entropy": "교차 엔트로피", "L2 on scores": "L2(로짓)", "L1 on scores": "L1(로짓)", "L2 on probabilities": "L2(확률)",
    "L1 on probabilities": "L1(확률)", "without": "R1 없음", "R1, gamma .2": "R1(γ = .2)", "R1, gamma 2": "R1(γ = 2)", "p = 1": "항상(p = 1)",
    "p = .6": "가끔(p = .6)", "never": "회전 없음", "none": "없음", "concatenation": "이어 붙이기", "auxiliary classifier": "보조 분류기",
    "projection": "프로젝션", "conditional batch-norm": "조건부 배치 정규화", "growing": "점진적 성장", "full size at once": "처음부터 전체 크기",
    "skips": "스킵 연결", "residual": "잔차 연결", "batch-norm": "배치 정규화", "8 layers": "8층", "both": "진짜와 가짜 모두",
    "reals only": "진짜만", "D's step only": "D의 스텝에서만", "(b) in detail": "(b) 풀어 쓴 AdaIN", "(c) deviation": "(c) 표준편차만",
    "(d) demodulated": "(d) 디모듈레이션", "(d), penalties always": "(d) 매 스텝 페널티", "Python loops": "파이썬 반복문",
    "columns, one product": "im2col 한꺼번에", "columns by the image": "im2col 이미지마다"}


def judged(holds):
    """Of each claim, whether it holds."""
    return "".join(f" <br>{CLAIMS[claim]}: {'확인됨' if it_does else '이 규모에서는 확인되지 않음'}." for claim, it_does in holds.items())


CLAIMS = {
    "all losses train": "모든 손실로 학습된다", "R1 keeps D flat": "R1은 입력에 대한 D의 기울기를 작게 유지한다",
    "R1 makes better digits": "R1을 쓰면 숫자 이미지가 더 좋아진다",
    "the auxiliary classifier pays with variety": "보조 분류기는 다양성을 희생한다",
    "all ways draw the digit that is asked for": "네 방법 모두 요청한 숫자를 그린다", "growing is faster": "점진적으로 키우는 쪽이 빠르다",
    "growing makes features stick to places": "점진적으로 키우면 특징이 화면의 위치에 고정된다",
    "the class belongs in batch-norm": "클래스는 배치 정규화로 알려 주는 편이 낫다",
    "larger batches help, step for step": "스텝 수가 같으면 배치가 클수록 좋다(채널 수와 상관없이)",
    "larger batches help, image for image": "이미지 수가 같으면 배치가 클수록 좋다(채널 수와 상관없이)", "more channels help": "채널이 많을수록 좋다(모든 배치 크기에서)",
    "truncation trades variety for quality": "절단은 다양성을 내주고 품질을 얻는다", "W has shorter paths": "Z보다 W에서 경로가 더 짧다",
    "W has better separability": "Z보다 W에서 속성이 더 잘 분리된다", "w follows the class better than z": "w가 z보다 클래스를 더 잘 따른다",
    "there is a droplet": "물방울 아티팩트(droplet)가 생긴다", "the redesign has fewer spots": "재설계로 얼룩이 줄어든다",
    "demodulation draws better digits": "디모듈레이션을 쓰면 숫자 이미지가 더 좋아진다",
    "lazy penalties cost little": "페널티를 가끔만 계산해도 손해가 적다",
    "augmented reals alone leak": "진짜만 증강하면 증강이 생성 이미지에 새어 나온다",
    "augmenting in D's step alone is worse": "D의 스텝에서만 증강하면 D와 G의 스텝 모두에서 증강할 때보다 나쁘다",
    "turns that are always fired leak": "항상 회전시키면 회전이 생성 이미지에 새어 나온다",
    "turns with p = .6 do not": "p = .6으로 회전시키면 새어 나오지 않는다", "augmentation helps with 100 images": "이미지가 100장일 때 증강이 도움이 된다",
    "cross-entropy punishes confident mistakes hardest, as a function of the probability":
        "확률의 함수로 보면 확신에 찬 실수를 교차 엔트로피가 가장 크게 벌한다",
    "and as a function of the score": "로짓의 함수로 보아도 그렇다"}

# %% A sentence for each demo: what its results hold -> text
KOREAN = {
    "autograd_tour": lambda r: (
        f"엔진이 구한 tanh의 1차부터 3차까지의 도함수는 손으로 구한 도함수와 {max(a for a, _ in r['apart'].values()):.0e}, 유한 차분과 "
        f"{max(b for _, b in r['apart'].values()):.0e} 이내로 일치합니다. x³의 도함수를 Tensor가 아닌 배열로 계산하면 1차에서는 맞지만(오차 "
        f"{r['errors']['a bare array'][0]:.0e}) 2차에서는 틀리고(오차 {r['errors']['a bare array'][1]:.1f}), check_grads가 이를 짚어 냅니다."),
    "gan_losses": lambda r: (
        f"D만 학습하면 D는 진짜에 {r['alone'][0]:.2f}, 가짜에 {r['alone'][1]:.2f}의 확률을 줍니다. D가 진짜 이미지를 가짜로 잘못 판단할 때 D를 미는 힘(손실의 "
        f"기울기)은 p = .01에서 교차 엔트로피 {r['push_at_p']['cross-entropy']:.0f}, L2 {r['push_at_p']['L2']:.2f}이고, 로짓 -8에서 L2 "
        f"{r['push_at_score']['L2 on scores']:.0f}, 교차 엔트로피 {r['push_at_score']['cross-entropy']:.2f}입니다. FID: "
        f"{listed(r['fid'])} (학습하지 않은 G: {r['untrained']:.0f})."),
    "gradient_penalty": lambda r: (
        f"두 수가 겨루는 게임은 정답에서 {r['distance']['start']:.2f}만큼 떨어진 곳에서 시작해 R1이 없으면 {r['distance']['without']:.2f}, R1이 있으면 "
        f"{r['distance']['with R1']:.3f}만큼 떨어진 곳에서 끝납니다. 진짜 숫자 이미지에서 입력에 대한 D의 기울기: {listed(r['slope'], '{:.2f}')}. FID: "
        f"{listed(r['fid'])}."),
    "conditional": lambda r: (
        f"클래스 정확도(요청한 숫자로 인식되는 비율): {listed(r['class_accuracy'], '{:.1%}')}. 다양성(재현율): {listed(r['recall'], '{:.2f}')}." +
        f" 보조 분류기를 쓴 학습 {len(r['seeds'])}번 중 {r['fooled']}번에서, 다른 분류기는 알아보지 못하는 숫자를 D의 분류기만 요청한 클래스라고 확신했습니다." *
        bool(r["fooled"])),
    "progressive": lambda r: (
        f"FID {r['mark']:.1f}까지 걸린 시간(초): {listed(r['seconds'], '{:.0f}')}. 특징이 숫자의 움직임을 따라가는 정도(1이면 완전히), 16x16: "
        f"{listed(r['following']['16'], '{:.2f}')}. 32x32: {listed(r['following']['32'], '{:.2f}')}."),
    "biggan": lambda r: (
        f"클래스를 알려 주는 방법에 따른 FID: {listed(r['fid'])}" +
        f"(이어 붙이기는 {len(r['seeds'])}번 중 {r['collapsed']}번 붕괴)" * bool(r["collapsed"]) + f". 배치 크기와 채널 수에 따른 FID: 스텝 수가 같을 때 {listed(r['scale']['steps'])}; 이미지 수가 같을 때 "
        f"{listed(r['scale']['images'])}. 절단(truncation) 임계값 {r['thresholds'][0]:g}에서 "
        f"정밀도 {r['truncation']['precision'][0]:.2f}, 재현율 {r['truncation']['recall'][0]:.2f}, {r['thresholds'][-1]:g}에서 "
        f"{r['truncation']['precision'][-1]:.2f}, {r['truncation']['recall'][-1]:.2f}."),
    "stylegan": lambda r: (
        f"일부가 빈 데이터에서 선형 함수는 z로 속성의 {r['r2']['Z']:.0%}, w로 {r['r2']['W']:.0%}를 설명합니다. 숫자 이미지에서 매핑이 8층일 때 경로 길이는 Z "
        f"{r['path_length']['z']['8 layers']:.1f}, W {r['path_length']['w']['8 layers']:.1f}, 분리도는 Z {r['separability']['z']['8 layers']:.2f}, W "
        f"{r['separability']['w']['8 layers']:.2f}입니다(둘 다 작을수록 좋음). 매핑 층수에 따른 클래스 정확도: {listed(r['class_accuracy'], '{:.1%}')}. "
        f"노이즈는 픽셀을 255 중 평균 {r['noise']['moves']:.1f}만큼 바꿉니다. FID: 노이즈 있음 {r['noise']['fid']:.1f}, 없음 {r['noise']['fid_without']:.1f}."),
    "stylegan2": lambda r: (
        f"가장 강한 얼룩(층 안의 최대 편차 ÷ 평균 편차): {listed(r['spots'])}. FID: {listed(r['fid'])}. 한 스텝의 시간(ms): "
        f"{listed(r['milliseconds'], '{:.0f}')}."),
    "diffaugment": lambda r: (
        f"생성 이미지 중 분류기가 증강된 것으로 본 비율(증강 대상별): {listed(r['augmented'], '{:.0%}')}. FID: {listed(r['fid'])}." +
        " MNIST 전체로 학습할 때는 증강이 품질을 떨어뜨립니다." * ("costs quality" in r["finding"])),
    "ada": lambda r: (
        "학습 이미지 수에 따른 FID(증강 없음, DiffAugment의 평행 이동, ADA 순): " + "; ".join(
            f"{size:,}장 " + ", ".join(f"{r['fid'][way][i]:.1f}" for way in r["fid"]) for i, size in enumerate(r["sizes"])) +
        f". 90도 단위 회전으로 증강할 때, 알아볼 수 있는 생성 이미지 중 똑바로 서 있지 않은 비율: {listed(r['turned'], '{:.0%}')}."),
    "speed": lambda r: (
        "합성곱 하나의 속도(GFLOP/s): " + listed(r["gflops"], "{:.3g}") + f"; 행렬 곱(코어 1개) {r['matrix_product']:.0f}. Winograd 알고리즘으로 생략한 곱셈까지 포함해 계산한 속도입니다." +
        " PyTorch 대비 스텝 시간의 비율(1보다 크면 tinygan이 느림): " + ", ".join(f"{row[0]} {row[7]}" for row in r["steps"][1:]) + "."),
}
