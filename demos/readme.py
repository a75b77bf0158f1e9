"""Put what was measured into README.md and README.ko.md: what is between <!-- NAME --> and <!-- end --> comes from demos/results/.

    python demos/readme.py

A table is between two such lines; a single number, within a line, between <!-- = FILE PATH FORMAT --> and <!-- end -->: of
demos/results/FILE.json, the number at the end of the PATH of keys, as Python's format() has it.
"""

# %%
import contextlib
import io
import json
import re
import sys
from pathlib import Path

DEMOS = Path(__file__).parent
FILES = DEMOS.parent / "README.md", DEMOS.parent / "README.ko.md"
LECTURE = ("autograd_tour", "gan_losses", "gradient_penalty", "conditional", "progressive", "biggan", "stylegan", "stylegan2",
           "diffaugment", "ada", "speed")


def kept(name):
    """What demos/results/NAME.json holds."""
    path = DEMOS / "results" / f"{name}.json"
    if not path.exists():
        sys.exit(f"{path} is missing")
    return json.loads(path.read_text())


def result(name):
    """What a demo's --full found, with all its seeds."""
    found = kept(name)
    if (found["size"], found["seeds"]) != ("full", [0, 1, 2]):
        sys.exit(f"demos/results/{name}.json is of {found['size']} size and seeds {found['seeds']}: run demos/{name}.py --full")
    return found


# %% The gallery: a picture, and the sentence with which its demo ends


def gallery(head="demo | what it found", sentence=lambda name: result(name)["finding"]):
    return "\n".join([f"| {head} |", "|---|---|"] + [
        f'| <a href="demos/pictures/{name}.png"><img src="demos/pictures/{name}-small.png"></a> | [{name}](demos/{name}.py): {sentence(name)} |'
        for name in LECTURE])


def listed(numbers, form="{:.1f}"):
    return "; ".join(f"{TRANSLATED.get(name, name)}: {form.format(number)}" for name, number in numbers.items())


TRANSLATED = {
    "cross-entropy": "교차 엔트로피", "L2 on scores": "원점수의 L2", "L1 on scores": "원점수의 L1", "L2 on probabilities": "확률의 L2",
    "L1 on probabilities": "확률의 L1", "without": "없음", "never": "회전 없음", "none": "없음", "concatenation": "이어 붙이기",
    "auxiliary classifier": "보조 분류기", "projection": "프로젝션", "conditional batch-norm": "조건부 배치 정규화", "growing": "점점 크게",
    "full size at once": "처음부터 전체 크기", "skips": "스킵 연결", "residual": "잔차 연결", "batch-norm": "배치 정규화", "8 layers": "8층",
    "both": "둘 다", "reals only": "진짜만", "D's step only": "D의 스텝만", "(b) in detail": "(b) 자세히", "(c) deviation": "(c) 표준편차만",
    "(d) demodulated": "(d) 디모듈레이션", "(d), penalties always": "(d) 벌점 매번", "Python loops": "파이썬 반복문",
    "columns, one product": "열 행렬 한 번", "columns by the image": "이미지마다 열 행렬"}


def judged(holds):
    """Of each claim, whether it holds, in Korean."""
    return "".join(f" <br>{CLAIMS[claim]}: {'그렇다' if it_does else '이 규모에서는 뚜렷하지 않다'}." for claim, it_does in holds.items())


CLAIMS = {
    "all losses train": "모든 손실로 학습된다", "R1 keeps D flat": "R1은 D의 기울기를 작게 한다", "R1 makes better digits": "R1은 숫자를 더 좋게 한다",
    "the auxiliary classifier pays with variety": "보조 분류기는 다양성을 희생한다",
    "all ways draw the digit that is asked for": "네 방법 모두 요청한 숫자를 그린다", "growing is faster": "점점 키우는 쪽이 빠르다",
    "growing makes features stick to places": "점점 키우면 특징이 위치에 고정된다", "the class belongs in batch-norm": "클래스는 배치 정규화로 알려 주는 편이 낫다",
    "larger batches help, step for step": "같은 스텝 수에서 배치를 키우면 좋아진다",
    "larger batches help, image for image": "같은 이미지 수에서 배치를 키우면 좋아진다", "more channels help": "채널을 늘리면 좋아진다",
    "truncation trades variety for quality": "절단은 다양성을 품질과 맞바꾼다", "W has shorter paths": "W의 경로가 더 짧다",
    "W has better separability": "W가 더 잘 분리된다", "w follows the class better than z": "w가 z보다 클래스를 더 잘 따른다",
    "there is a droplet": "물방울 얼룩이 생긴다", "the redesign has fewer spots": "재설계로 얼룩이 줄어든다", "lazy penalties cost little": "벌점을 가끔만 계산해도 잃는 것이 적다",
    "augmented reals alone leak": "진짜만 증강하면 표본에 새어 나온다", "augmenting in D's step alone is worse": "D의 스텝에서만 증강하면 나빠진다",
    "turns that are always fired leak": "항상 돌리면 표본에 새어 나온다", "turns with p = .6 do not": "p = .6으로 돌리면 새어 나오지 않는다", "augmentation helps with few images": "이미지가 적을 때 증강이 도움이 된다"}


# The same in Korean: the numbers are the demos', and so are the names of what is compared.
KOREAN = {
    "autograd_tour": lambda r: (
        f"엔진이 구한 tanh의 1차부터 3차 도함수는 손으로 구한 것과 {max(a for a, _ in r['apart'].values()):.0e}, 차분과 "
        f"{max(b for _, b in r['apart'].values()):.0e} 이내로 같습니다. 일반 배열로 계산한 도함수는 1차에서는 맞고(오차 "
        f"{r['errors']['a bare array'][0]:.0e}) 2차에서는 틀립니다(오차 {r['errors']['a bare array'][1]:.1f})."),
    "gan_losses": lambda r: (
        f"D만 학습하면 진짜에 {r['alone'][0]:.2f}, 가짜에 {r['alone'][1]:.2f}를 줍니다. p = .01인 실수를 교차 엔트로피는 "
        f"{r['push_at_p']['cross-entropy']:.0f}, L2는 {r['push_at_p']['L2']:.2f}의 힘으로 밀고, 원점수 -8에서는 L2가 "
        f"{r['push_at_score']['L2 on scores']:.0f}, 교차 엔트로피가 {r['push_at_score']['cross-entropy']:.2f}의 힘으로 밉니다. FID: "
        f"{listed(r['fid'])}."),
    "gradient_penalty": lambda r: (
        f"두 수의 게임은 R1 없이 정답에서 {r['distance']['without']:.2f}, R1이 있으면 {r['distance']['with R1']:.3f} 떨어진 곳에서 끝납니다. "
        f"숫자 이미지에서 D의 기울기: {listed(r['slope'], '{:.2f}')}; FID: {listed(r['fid'])}."),
    "conditional": lambda r: (
        f"요청한 숫자를 그리는 비율: {listed(r['class_accuracy'], '{:.1%}')}. 다양성(재현율): {listed(r['recall'], '{:.2f}')}. "
        f"D의 분류기만 속은 보조 분류기의 학습: 셋 중 {r['fooled']}번."),
    "progressive": lambda r: (
        f"FID {r['mark']:.1f}까지 걸린 시간(초): {listed(r['seconds'], '{:.0f}')}. 특징이 그림의 움직임을 따라가는 정도(16x16): "
        f"{listed(r['following']['16'], '{:.2f}')}."),
    "biggan": lambda r: (
        f"클래스를 알려 주는 방법에 따른 FID: {listed(r['fid'])}. 배치 x 채널에 따른 FID: 같은 스텝 수에서 {listed(r['scale']['steps'])}; 같은 이미지 수에서 "
        f"{listed(r['scale']['images'])}. 절단(truncation) 문턱값 {r['thresholds'][0]:g}에서 "
        f"정밀도 {r['truncation']['precision'][0]:.2f}, 재현율 {r['truncation']['recall'][0]:.2f}, {r['thresholds'][-1]:g}에서 "
        f"{r['truncation']['precision'][-1]:.2f}, {r['truncation']['recall'][-1]:.2f}."),
    "stylegan": lambda r: (
        f"구멍 난 데이터에서 선형 함수가 z에서는 속성의 {r['r2']['Z']:.0%}, w에서는 {r['r2']['W']:.0%}를 알아냅니다. 숫자에서 8층일 때 경로 길이는 Z "
        f"{r['path_length']['z']['8 layers']:.1f}, W {r['path_length']['w']['8 layers']:.1f}, 분리도는 Z {r['separability']['z']['8 layers']:.2f}, W "
        f"{r['separability']['w']['8 layers']:.2f}. 클래스 정확도: {listed(r['class_accuracy'], '{:.1%}')}."),
    "stylegan2": lambda r: (
        f"가장 강한 얼룩(최댓값 / 평균): {listed(r['spots'])}. FID: {listed(r['fid'])}. 한 스텝의 시간(ms): "
        f"{listed(r['milliseconds'], '{:.0f}')}."),
    "diffaugment": lambda r: (
        f"증강된 것으로 보이는 표본의 비율: {listed(r['augmented'], '{:.0%}')}. FID: {listed(r['fid'])}."),
    "ada": lambda r: (
        "학습 이미지 수에 따른 FID(없음, DiffAugment의 이동, ADA): " + "; ".join(
            f"{size:,}장 " + ", ".join(f"{r['fid'][way][i]:.1f}" for way in r["fid"]) for i, size in enumerate(r["sizes"])) +
        f". 90도 단위 회전을 증강으로 쓸 때 똑바로 서지 않은 표본의 비율: {listed(r['turned'], '{:.0%}')}."),
    "speed": lambda r: (
        "합성곱 하나의 속도(GFLOP/s): " + listed(r["gflops"], "{:.3g}") + f"; 행렬 곱 {r['matrix_product']:.0f}."),
}


# %% Numbers within a line


def value(file, path, form=""):
    """The number of a JSON file at a path such as "metrics.fid"."""
    number = kept(file)
    for key in path.split("."):
        number = number[int(key) if isinstance(number, list) else key]
    return format(number, form)


# %% Tables: "ada 0" is the first that ada.py prints


def markdown(head, *rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def table(name, number):
    return markdown(*result(name)["tables"][int(number)])


def truncation(file, name, *shown):
    """What `tinygan truncation` measured, at some thresholds or psis."""
    rows = {f"{row['threshold']:g}": row for row in kept(file)["thresholds"]}
    return markdown([name, *shown], *([title, *(f"{rows[value][key]:.{digits}f}" for value in shown)] for title, key, digits in (
        ("FID", "fid", 2), ("precision", "precision", 3), ("recall", "recall", 3), ("class accuracy", "class_accuracy", 3))))


def spaces():
    """What `tinygan ppl` and `tinygan separability` measured of Z and W."""
    lengths, scores = kept("path-length")["perceptual_path_length"], kept("separability")["separability"]
    return markdown(["", "Z", "W"],
                    ["perceptual path length, anywhere on a path", *(f"{lengths[f'{space}, full']:.1f}" for space in "ZW")],
                    ["perceptual path length, at its beginning", *(f"{lengths[f'{space}, ends']:.1f}" for space in "ZW")],
                    ["linear separability", *(f"{scores[space]:.2f}" for space in "ZW")])


def bench(what):
    """What `tinygan bench -o demos/results/bench-WHAT.json` measured."""
    rows = kept(f"bench-{what}")[what]
    if what == "steps":
        memory = {row[0]: row for row in kept("bench-memory")["memory"]}
        rows = [["step", "batch", "tinygan", "of sgemm's peak", "PyTorch", "time ratio", "target", "memory"]] + [
            [row[0], row[1], f"{row[2]} ms", row[4], f"{row[5]} ms", f"**{row[7]}**", row[8],
             f"{memory[row[0]][1]} against {memory[row[0]][2]} MB"] for row in rows[1:]]
    return markdown(*(row[:5] if what == "augmentation" else row for row in rows))


def printed(script, *arguments):
    """What the table() of a script in demos/ prints."""
    sys.path.insert(0, str(DEMOS))
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            __import__(script).table(*arguments)
    finally:
        sys.path.pop(0)
    return out.getvalue().rstrip()


# %%


def content(mark):
    """What belongs between <!-- mark --> and <!-- end -->."""
    name, *arguments = mark.split()
    if name == "gallery":
        return gallery()
    if name == "갤러리":
        return gallery("데모 | 알아낸 것", lambda name: KOREAN[name](result(name)) + judged(result(name)["holds"]))
    if name in ("truncation", "spaces", "bench"):
        return globals()[name](*arguments)
    return table(name, *arguments) if name in LECTURE else printed(name, *arguments)


def filled(text):
    """A README's text with everything between its marks as it was measured."""
    text = re.sub("(<!-- = ([^>]*) -->).*?(<!-- end -->)", lambda found: f"{found[1]}{value(*found[2].split())}{found[3]}", text)
    return re.sub("(<!-- ([^>]*) -->\n)(.*?)(<!-- end -->)", lambda found: f"{found[1]}\n{content(found[2])}\n\n{found[4]}", text,
                  flags=re.DOTALL)


if __name__ == "__main__":
    for file in FILES:
        file.write_text(filled(file.read_text(encoding="utf-8")), encoding="utf-8")
