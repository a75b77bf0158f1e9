// The words of all pages, in English and in Korean.

const KOREAN = {
  "The laboratory": "GAN 실험실",
  "one backward pass": "역전파 한 번",
  "the game": "게임",
  "play": "재생",
  "pause": "멈춤",
  "one step": "한 스텝",
  "half a step": "반 스텝",
  "begin again": "처음부터",
  "show me the code": "코드 보기",
  "draw points": "점 그리기",
  "use these points": "이 점들로 시작",
  "clear": "지우기",
  "speed": "속도",
  "slow motion": "느리게",
  "steps a frame": "스텝/프레임",
  "show": "표시",
  "arrows": "화살표",
  "grid of latents": "잠재 벡터의 격자",
  "optimal D": "최적의 D",
  "preset": "예제",
  "(your own)": "(직접 고름)",
  "data and seed": "데이터와 시드",
  "loss and penalties": "손실과 페널티",
  "optimiser": "옵티마이저",
  "networks": "신경망",
  "all other settings": "나머지 설정",
  "copy": "복사",
  "save": "저장",
  "close": "닫기",
  "real": "진짜",
  "fake": "가짜",
  "loss of D": "D의 손실",
  "loss of G": "G의 손실",
  "D's accuracy": "D의 정확도",
  "steps": "스텝",
  "D's turn": "D의 차례",
  "G's turn": "G의 차례",
  "D has learned: its output has risen at + and fallen at -. Next, G moves along the arrows.":
    "D가 배웠습니다. +에서는 출력이 올랐고 -에서는 내렸습니다. 이제 G가 화살표를 따라 움직일 " +
    "차례입니다.",
  "G has moved its fakes (lines: from where). Next, D learns.":
    "G가 가짜를 옮겼습니다(선: 옮기기 전 자리). 이제 D가 배울 차례입니다.",
  "how long": "화살표의 길이는 기울기 크기의 제곱근을 따르며, 모든 게임에서 눈금이 같습니다.",
  "D's output from": "D의 출력 범위",
  "to": "~",
  "divergence": "발산(JSD)",
  "D's loss shows": "D의 손실이 보여 주는 값",
  "no answer":
    "실험실이 응답하지 않습니다. `tinygan lab`을 다시 시작하고 새 주소를 여세요.",
  "points": "점",
  "Draw with the pointer, or move with the arrow keys and press Enter.":
    "포인터로 그리거나, 화살표 키로 움직이고 Enter를 누르세요.",
  "this address holds no settings that can be read":
    "이 주소에는 읽을 수 있는 설정이 없습니다",
  "The explorer": "탐색기",
  "direction": "방향",
  "class": "클래스",
  "all classes on the sheet": "표본 시트에 모든 클래스 표시",
  "truncation": "truncation",
  "noise": "노이즈",
  "on": "켬",
  "off": "끔",
  "another image": "다른 이미지",
  "click an image to go there": "이미지를 누르면 그리로 갑니다",
  "nearest training image": "가장 가까운 학습 이미지",
  "a walk between four latents": "네 잠재 벡터 사이를 보간",
  "save the picture": "그림 저장",
  "save the walk": "보간을 GIF로 저장",
  "mix styles from": "스타일을 가져올 z(시드)",
  "none": "없음",
  "layers": "층",
  "project an image": "이미지 투영(inversion)",
  "real image number": "진짜 이미지 번호",
  "forward": "다음",
  "back": "이전",
  "expression": "식",
  "order": "차수",
  "forward: the value of an op follows from those above it":
    "순전파: 위의 값들로 계산한 연산의 값",
  "backward: an op of the backward pass, which is a graph as well":
    "역전파: 역전파가 만든 연산(역전파도 그래프)",
  "second order: how the result changes with this value":
    "2차: 이 값에 대한 결과의 변화율",
  // the presets of lab/presets.py
  "vanishing gradient": "사라지는 기울기",
  ["D learns much faster than G and is soon sure of all fakes; there, G's loss log(1 - D(x)) " +
   "hardly changes when a fake moves. The arrows vanish, and G stays where it is."]:
    "D가 G보다 훨씬 빨리 배워 가짜를 모두 가짜라고 금세 확신합니다. 그러면 가짜가 움직여도 G의 " +
    "손실 log(1 - D(x))가 거의 변하지 않아, 화살표가 사라지고 G는 제자리에 머뭅니다.",
  "non-saturating": "포화하지 않는 손실",
  ["D is as far ahead as in the preset before, but G minimises -log D(x), which is steep where " +
   "D is sure. The arrows stay long and G moves, although its fakes soon gather."]:
    "D는 바로 앞 예제만큼 앞서 있지만, G는 -log D(x)를 최소화합니다. 이 손실은 D가 확신하는 " +
    "곳에서 가파르므로 화살표가 길고 G가 움직이지만, 가짜는 곧 한데 모입니다.",
  "mode collapse": "모드 붕괴",
  ["Every fake follows its arrow to where D takes points for real at the moment, and nothing " +
   "keeps the fakes apart. After some time, several of the eight modes (clusters) are empty."]:
    "모든 가짜는 지금 D가 진짜로 여기는 곳으로 화살표를 따라가며, 가짜들을 서로 떼어 놓는 것이 " +
    "없습니다. 얼마 뒤에는 여덟 모드(무리) 가운데 여러 개가 빕니다.",
  "cure: R1": "처방: R1",
  ["R1 punishes D for being steep at the reals, so that it is never very sure. Arrows stay " +
   "short, and fakes reach all eight modes."]:
    "R1은 D가 진짜 점에서 가파르면 페널티를 주어, D가 크게 확신하지 못하게 합니다. 화살표는 짧게 " +
    "유지되고, 가짜는 여덟 모드에 모두 이릅니다.",
  "cure: WGAN-GP": "처방: WGAN-GP",
  ["D is a critic now: its output is a height and no probability, and a penalty (gp) keeps its " +
   "slope near 1. The fakes climb it and spread over all modes."]:
    "이제 D는 비평자입니다. 출력은 확률이 아니라 높이이고, 페널티(gp)가 그 기울기를 1 가까이 " +
    "유지하므로, 가짜는 그 높이를 오르며 모든 모드로 퍼집니다.",
  "cure: relativistic": "처방: 상대론적 손실",
  ["D compares each fake with a real point, and R1 and R2 keep it flat around both. Fakes reach " +
   "all modes; set r1 and r2 to 0, and they do not."]:
    "D는 가짜 하나를 진짜 하나와 비교하고, R1과 R2는 양쪽 주변에서 D를 완만하게 합니다. 가짜는 " +
    "모든 모드에 이르지만, r1과 r2를 0으로 하면 그러지 못합니다.",
  "partial cure: unrolled": "반쪽 처방: Unrolled GAN(펼친 GAN)",
  ["Before G moves, it looks at how D would answer in its next five updates, so that crowding " +
   "at one mode pays less. More modes keep fakes, but seldom all of them."]:
    "G는 움직이기 전에 D가 다음 다섯 번의 갱신에서 어떻게 대응할지 미리 보므로, 한 모드에 " +
    "몰리는 것은 이득이 적습니다. 더 많은 모드에 가짜가 남지만, 전부인 경우는 드뭅니다.",
  "partial cure: minibatch statistics": "반쪽 처방: 미니배치 통계",
  ["D sees how much the points of a batch differ, so that fakes which are too much alike give " +
   "themselves away. More modes have fakes, though unevenly, and not always all."]:
    "D는 배치의 점들이 서로 얼마나 다른지 보므로, 너무 비슷한 가짜들은 가짜임이 드러납니다. " +
    "더 많은 모드에 가짜가 있지만, 고르게 퍼지지는 않고 항상 모든 모드에 있는 것도 아닙니다.",
  ["One real point, one fake, and D(x) = psi x: a tilted plane, which turns after the fake. It " +
   "is always late, so that the fake goes round the real point and does not stop there."]:
    "진짜 점 하나, 가짜 점 하나, 그리고 D(x) = ψx. D는 가짜를 따라 기울어지는 평면이지만 늘 한발 " +
    "늦습니다. 그래서 가짜는 진짜 점에 멈추지 못하고 그 주위를 맴돕니다.",
  "Dirac-GAN with R1": "R1을 더한 Dirac-GAN",
  ["R1 pulls the slope psi towards 0, which damps the turning of the Dirac-GAN. The fake comes " +
   "to rest on the real point."]:
    "R1은 기울기 ψ를 0 쪽으로 당겨 Dirac-GAN의 회전을 누그러뜨립니다. 가짜는 진짜 점 위에서 " +
    "멈춥니다.",
  "WGAN's critic": "WGAN의 비평자",
  ["The critic's weights are clipped at .1, and it has no sigmoid: its output is a height, " +
   "which the fakes climb. Its slope is small but does not vanish where a fake is far away."]:
    "비평자는 가중치를 ±0.1로 클리핑하고 시그모이드를 쓰지 않습니다. 출력은 높이이고 가짜는 그 " +
    "높이를 오르며, 가짜가 멀리 있어도 기울기는 작을 뿐 사라지지 않습니다.",
};
const MORE_ENGLISH = {
  "how long": "An arrow's length follows the root of the gradient's, on one scale for all games.",
  "no answer":
    "The laboratory does not answer: start `tinygan lab` again, and open its address.",
};

let language = localStorage.getItem("language") || (navigator.language || "en").slice(0, 2);

export function t(english) {
  if (language === "ko") return KOREAN[english] ?? english;
  return MORE_ENGLISH[english] ?? english;
}

// Fill in the texts of the elements with data-t, and let the button with id "language" switch.
export function translatePage() {
  document.documentElement.lang = language === "ko" ? "ko" : "en";
  for (const part of document.querySelectorAll("[data-t]")) part.textContent = t(part.dataset.t);
  const button = document.getElementById("language");
  button.textContent = language === "ko" ? "English" : "한국어";
  button.onclick = () => {
    localStorage.setItem("language", language === "ko" ? "en" : "ko");
    location.reload();
  };
}
